package export

import (
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// jsonLines writes records as JSON objects.
type jsonLines struct{}

func planJSONLines(*Config) (job, error) { return jsonLines{}, nil }

func (jsonLines) passes() int { return 1 }

func (jsonLines) write(r *run) error {
	decoder := render.NewDecoder(r.cfg.Encodings)
	var line []byte
	return r.each(func(_ uint64, rec wire.Record) error {
		fields, known := decoder.Decode(rec)
		line = append(render.AppendJSON(line[:0], rec, fields, known), '\n')
		r.report.Records++
		_, err := r.w.Write(line)
		return err
	})
}
