package bench

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// WriteHTML writes the report as one page without anything outside it: the
// machine, a table of each case, and plots.
func (r *Report) WriteHTML(w io.Writer) error {
	plots, err := r.plots()
	if err != nil {
		return err
	}
	return page.Execute(w, struct {
		*Report
		Plots []template.HTML
	}{r, plots})
}

// plots draws the latency percentiles of cases that have histograms, and the
// rates of those that have rates.
func (r *Report) plots() ([]template.HTML, error) {
	var out []template.HTML
	add := func(p *plot.Plot, err error) error {
		if err != nil || p == nil {
			return err
		}
		svg, err := render(p)
		out = append(out, svg)
		return err
	}
	for i := range r.Cases {
		if len(r.Cases[i].Histograms) > 0 {
			if err := add(percentilePlot(r.Cases[i].title(), r.Cases[i].Histograms)); err != nil {
				return nil, err
			}
		}
	}
	return out, add(r.ratePlot())
}

// title names a case by its labels.
func (c *Case) title() string {
	var parts []string
	for _, l := range c.Labels {
		parts = append(parts, fmt.Sprintf("%s %v", l.Name, l.Value))
	}
	return strings.Join(parts, ", ")
}

// percentilePlot draws histograms as HdrHistogram's own plots do: value over
// percentile, where each step to the right is ten times rarer.
func percentilePlot(title string, hists map[string]*hdrhistogram.Histogram) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "percentile", "µs"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 1, Label: "90"}, {Value: 2, Label: "99"},
		{Value: 3, Label: "99.9"}, {Value: 4, Label: "99.99"}, {Value: 5, Label: "99.999"}}
	p.X.Max, p.Y.Min = 5.4, 0.1 // room for the last tick; nothing of interest is faster
	p.Legend.Left, p.Legend.Top = false, false
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(24), vg.Points(6)
	var args []any
	for _, name := range slices.Sorted(maps.Keys(hists)) {
		var points plotter.XYs
		for x := 0.0; x <= 5; x += 0.05 {
			q := 100 * (1 - math.Pow(10, -x))
			points = append(points, plotter.XY{X: x, Y: max(float64(hists[name].ValueAtQuantile(q)), 100) / 1000})
		}
		args = append(args, name, points)
	}
	return p, plotutil.AddLines(p, args...)
}

// ratePlot draws the records a second of every case as bars, or nothing where
// there are none.
func (r *Report) ratePlot() (*plot.Plot, error) {
	var (
		values plotter.Values
		names  []string
	)
	for i := range r.Cases {
		c := &r.Cases[i]
		s, ok := c.Metrics["records_per_second"]
		if !ok {
			continue
		}
		values, names = append(values, s.Median/1e6), append(names, c.shortTitle())
	}
	if len(values) == 0 {
		return nil, nil
	}
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = r.Mode, "million records a second"
	bars, err := plotter.NewBarChart(values, vg.Points(18))
	if err != nil {
		return nil, err
	}
	bars.Color = plotutil.Color(2)
	p.Add(bars)
	p.NominalX(names...)
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/4, -1, -1
	p.X.Padding, p.X.Min, p.X.Max = vg.Points(12), -0.5, float64(len(names))-0.5
	return p, nil
}

// shortTitle names a case by what sets it apart.
func (c *Case) shortTitle() string {
	if along, ok := c.Label("along").(string); ok {
		return fmt.Sprintf("%v %s", c.Label(along), along)
	}
	if c.Labels[0].Name == "case" && len(c.Labels) > 1 {
		var values []string
		for _, l := range c.Labels[1:] {
			values = append(values, fmt.Sprint(l.Value))
		}
		return strings.Join(values, ", ")
	}
	return fmt.Sprint(c.Labels[0].Value)
}

func render(p *plot.Plot) (template.HTML, error) {
	w, err := p.WriterTo(9*vg.Inch, 4.5*vg.Inch, "svg")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return "", err
	}
	// What is before the element does not belong inside a page.
	svg := b.String()
	return template.HTML(svg[max(strings.Index(svg, "<svg"), 0):]), nil
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"figure": func(f float64) string {
		if f >= 1000 {
			return fmt.Sprintf("%.0f", f)
		}
		return fmt.Sprintf("%.4g", f)
	},
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>tapedeck bench {{.Mode}}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: 0 0 2rem; width: 100% }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto }
.note { color: #555 }
</style>
<h1>tapedeck bench {{.Mode}}</h1>
<p class="note">{{.Created.Format "2006-01-02 15:04:05 MST"}} · {{.Machine.CPU}}, {{.Machine.CPUs}} CPUs · {{.Machine.Kernel}} · libzmq {{.Machine.Libzmq}} · {{.Machine.Go}} · tapedeck {{.Machine.Tapedeck}} {{.Machine.Commit}}</p>
<p class="note">{{range $k, $v := .Config}}{{$k}} {{$v}} · {{end}}</p>
{{range .Plots}}<figure>{{.}}</figure>{{end}}
{{range .Cases}}<h2>{{range $i, $l := .Labels}}{{if $i}}, {{end}}{{$l.Name}} {{$l.Value}}{{end}}</h2>
<table><tr><th>metric<th>median<th>least<th>greatest</tr>
{{range $name, $s := .Metrics}}<tr><td>{{$name}}<td>{{figure $s.Median}}<td>{{figure $s.Min}}<td>{{figure $s.Max}}</tr>
{{end}}</table>
{{end}}`))
