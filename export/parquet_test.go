package export

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// readRows reads all rows of a Parquet file, one value a column.
func readRows(t *testing.T, file []byte) (*pq.File, [][]pq.Value) {
	t.Helper()
	f, err := pq.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]pq.Value
	for _, g := range f.RowGroups() {
		r := g.Rows()
		buf := make([]pq.Row, 16)
		for {
			n, err := r.ReadRows(buf)
			for _, row := range buf[:n] {
				rows = append(rows, row.Clone())
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return f, rows
}

func TestParquetColumns(t *testing.T) {
	got, rep := write(t, "parquet", mixed(t).config())
	f, rows := readRows(t, got)
	var schema []string
	for _, c := range f.Root().Columns() {
		text := c.Name() + " " + c.Type().String()
		if c.Optional() {
			text += "?"
		}
		schema = append(schema, text)
	}
	want := []string{
		"topic STRING", "topic_seq INT(64,true)", "kind STRING", "event_time TIMESTAMP(isAdjustedToUTC=true,unit=NANOS)",
		"receive_time TIMESTAMP(isAdjustedToUTC=true,unit=NANOS)", "flags STRING", "body BYTE_ARRAY",
		"price DOUBLE?", "body_flags INT(64,true)?", "price_2 STRING?", "on BOOLEAN?", "name STRING?",
		"body_body_flags STRING?", "deep STRING?", "body_topic STRING?",
	}
	if diff := cmp.Diff(want, schema); diff != "" {
		t.Error(diff)
	}
	var lines []string
	for _, row := range rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, v.String())
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	wantRows := []string{
		`C.x|0|trade|0|10||1.5,2,"a ""quoted"" word"|1.5|2|a "quoted" word|<null>|<null>|<null>|<null>|<null>`,
		`C.x|1|trade|1|11|no_event_time|3,,|3|<null>|<null>|<null>|<null>|<null>|<null>|<null>`,
		`J.y|2|trade|2|12|no_receive_time|{"price":7,"on":true,"name":"","body_flags":"x","deep":{"a":[1,2]},"price":8}|7|<null>|8|true||x|{"a":[1,2]}|<null>`,
		"R.z|3|trade|3|13|no_event_time,no_receive_time|\x00\x01|<null>|<null>|<null>|<null>|<null>|<null>|<null>|<null>",
		`J.y|4|trade|4|14||{"on":false,"topic":"t","name":"line\nend"}|<null>|<null>|<null>|false|` + "line\nend" + `|<null>|<null>|t`,
	}
	if diff := cmp.Diff(wantRows, lines); diff != "" {
		t.Error(diff)
	}
	if rep.Records != 5 || rep.Bytes != uint64(len(got)) || len(rep.Notes) > 0 {
		t.Errorf("report %+v; the file has %d bytes", rep, len(got))
	}
}

// A file without records is a file.
func TestParquetEmpty(t *testing.T) {
	got, _ := write(t, "parquet", (&memory{}).config())
	if f, rows := readRows(t, got); len(rows) != 0 || len(f.Root().Columns()) != columnFields {
		t.Errorf("%d rows, %d columns", len(rows), len(f.Root().Columns()))
	}
}

// Names that readers would trip over are changed, and text that is not UTF-8 is
// told.
func TestParquetNames(t *testing.T) {
	m := &memory{encodings: []wire.Encoding{{Format: "csv", Detail: map[string]string{"columns": `["a,b","a.b","","body"]`}}}}
	m.add(t, wire.Fields{Topic: []byte("\xff"), Body: []byte("1,2,3,\xfe")})
	got, rep := write(t, "parquet", m.config())
	f, rows := readRows(t, got)
	var names []string
	for _, c := range f.Root().Columns()[columnFields:] {
		names = append(names, c.Name())
	}
	if diff := cmp.Diff([]string{"a_b", "body_a_b", "body_", "body_body"}, names); diff != "" {
		t.Error(diff)
	}
	if len(rows) != 1 || rows[0][columnTopic].String() != "\uFFFD" || rows[0][len(rows[0])-1].String() != "\uFFFD" {
		t.Errorf("rows %v", rows)
	}
	if rows[0][columnBody].String() != "1,2,3,\xfe" {
		t.Errorf("the body has changed: %q", rows[0][columnBody])
	}
	if len(rep.Notes) != 1 {
		t.Errorf("notes %q", rep.Notes)
	}
}

// Row groups are bounded by what is in them, and nothing is lost between them.
func TestParquetRowGroups(t *testing.T) {
	cfg, err := synth.ParseSpec("topics=7,rate=1000,duration=5s,size=100")
	if err != nil {
		t.Fatal(err)
	}
	src, err := synth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := drain(t, src)
	const limit = 100_000
	x := &parquetFile{rowGroup: limit}
	var out bytes.Buffer
	e := &Export{cfg: m.config(), job: x}
	if _, err := e.Write(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	f, rows := readRows(t, out.Bytes())
	if len(rows) != m.count {
		t.Fatalf("%d rows, want %d", len(rows), m.count)
	}
	groups := f.RowGroups()
	if least := len(m.data) / limit; len(groups) < least {
		t.Errorf("%d row groups for %d bytes of records", len(groups), len(m.data))
	}
	for i, w := 0, (&walk{rest: m.data}); w.Next(); i++ {
		rec, row := w.Record(), rows[i]
		if !bytes.Equal(row[columnBody].ByteArray(), rec.Body()) || row[columnTopic].String() != string(rec.Topic()) ||
			row[columnReceive].Int64() != int64(rec.Receive()) || row[columnEvent].Int64() != int64(rec.Event()) {
			t.Fatalf("row %d: %v; the record is %s", i, row, render.AppendText(nil, rec, nil, false))
		}
	}
}

// Every field of a real file is in its column.
func TestParquetFile(t *testing.T) {
	m := importFile(t, testdata.Path(t, "dbn/futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"), feed.Options{})
	got, _ := write(t, "parquet", m.config())
	f, rows := readRows(t, got)
	byName := map[string]int{}
	for i, c := range f.Root().Columns() {
		byName[c.Name()] = i
	}
	decoder := render.NewDecoder(m.encodings)
	if len(rows) != m.count {
		t.Fatalf("%d rows, want %d", len(rows), m.count)
	}
	for i, w := 0, (&walk{rest: m.data}); w.Next(); i++ {
		fields, ok := decoder.Decode(w.Record())
		if !ok {
			t.Fatal("not decoded")
		}
		for _, field := range fields {
			name := field.Name
			if name == "flags" {
				name = "body_flags"
			}
			column, ok := byName[name]
			if !ok {
				t.Fatalf("no column %s", name)
			}
			v := rows[i][column]
			if v.IsNull() != (field.Value == nil) || field.Value != nil && v.String() != string(render.AppendValue(nil, field.Value)) {
				t.Fatalf("row %d: %s is %v, want %v", i, name, v, field.Value)
			}
		}
	}
}
