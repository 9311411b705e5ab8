package feed

import (
	"errors"
	"reflect"
	"testing"
)

// TestOnly holds that each option but Format is refused unless it is named,
// also one that is added to Options later.
func TestOnly(t *testing.T) {
	typ := reflect.TypeFor[Options]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Name == "Format" {
			continue
		}
		var o Options
		switch v := reflect.ValueOf(&o).Elem().Field(i); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"x"}))
		default:
			t.Fatalf("%s: teach this test to set a %s", f.Name, v.Kind())
		}
		if err := o.Only(); !errors.Is(err, ErrOption) {
			t.Errorf("%s not named: error %v", f.Name, err)
		}
		if err := o.Only("Other", f.Name); err != nil {
			t.Errorf("%s named: %v", f.Name, err)
		}
	}
	if err := (&Options{Format: "csv", Header: "auto"}).Only(); err != nil {
		t.Error(err)
	}
}
