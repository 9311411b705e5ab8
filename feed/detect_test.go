package feed

import (
	"errors"
	"testing"
)

func TestDetect(t *testing.T) {
	sure := func(n int) func([]byte) int { return func([]byte) int { return n } }
	table := []Format{
		{Name: "low", Detect: sure(10)}, {Name: "none", Detect: sure(0)},
		{Name: "high", Detect: sure(90)}, {Name: "mid", Detect: sure(50)},
	}
	in := &Input{Name: "x.dat", Head: []byte("x")}
	tests := []struct {
		name  string
		table []Format
		in    *Input
		ask   string
		want  string
		err   error
		texts []string
	}{
		{name: "highest", table: table, in: in, want: "high"},
		{name: "by name", table: table, in: in, ask: "none", want: "none"},
		{name: "unknown", table: table, in: in, ask: "hihg", err: ErrUnknownFormat, texts: []string{`"hihg"`, "low, none, high, mid"}},
		{name: "tie", table: append(table, Format{Name: "rival", Detect: sure(90)}), in: in, err: ErrAmbiguous, texts: []string{"x.dat", "high or rival"}},
		{name: "tie below the best", table: append(table, Format{Name: "rival", Detect: sure(50)}), in: in, want: "high"},
		{name: "empty", table: table, in: &Input{Name: "x.dat"}, err: ErrEmpty, texts: []string{"x.dat", "empty file"}},
		{name: "empty by name", table: table, in: &Input{Name: "x.dat"}, ask: "low", err: ErrEmpty},
		{name: "unknown and empty", table: table, in: &Input{Name: "x.dat"}, ask: "no", err: ErrUnknownFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Detect(tt.table, tt.in, tt.ask)
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				wantError(t, err, tt.texts...)
				return
			}
			must(t, err)
			if f.Name != tt.want {
				t.Errorf("format %s, want %s", f.Name, tt.want)
			}
		})
	}
	var unknown *ErrNoFormat
	if _, err := Detect(table[1:2], in, ""); !errors.As(err, &unknown) || unknown.Name != "x.dat" {
		t.Errorf("error %v", err)
	}
}
