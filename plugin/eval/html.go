package eval

import (
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

// html writes the document as one page that loads nothing.
func (d document) html(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"show":    show,
		"share":   func(v any) template.CSS { return bar(v) },
		"isShare": func(v any) bool { _, ok := v.(share); return ok },
		"isText":  func(v any) bool { _, ok := v.(string); return ok },
		"three":   func(v float64) string { return decimals(v, 3) },
		"percent": func(v float64) string { return decimals(100*v, 0) + " %" },
		"word":    verdictWord,
		"heat":    heatOf,
		"dots":    dotsOf,
		"picture": picture,
		"minus":   func(s string) string { return strings.ReplaceAll(s, "-", "−") },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// bar is the width of a share's bar.
func bar(v any) template.CSS {
	s, _ := v.(share)
	f := float64(s)
	if math.IsNaN(f) {
		f = 0
	}
	return template.CSS(fmt.Sprintf("--v:%.3f", min(1, max(0, f))))
}

// picture is a thumbnail as a data URI, "" if there is none.
func picture(jpeg []byte) template.URL {
	if len(jpeg) == 0 {
		return ""
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg))
}

// heatCell is one cell of the confusion matrix.
type heatCell struct {
	Count int
	Style template.CSS // share of the row, 0…1
	Title string
	Class string // right: the answer is; deep: dark enough for light ink
}

type heatRow struct {
	Label string
	Cells []heatCell
}

// heatOf shades each row by its own sum, so that rare classes are as visible as common ones. Rows without a picture stay.
func heatOf(c *Confusion) []heatRow {
	var out []heatRow
	for i, counts := range c.Rows {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		row := heatRow{Label: c.Labels[i]}
		for k, n := range counts {
			cell := heatCell{Count: n}
			if n > 0 {
				v := .12 + .88*float64(n)/float64(sum)
				cell.Style = template.CSS(fmt.Sprintf("--v:%.3f", v))
				if i == k {
					cell.Class = "right "
				}
				if v > .6 {
					cell.Class += "deep"
				}
				cell.Title = fmt.Sprintf("%d of %d: %s taken for %s", n, sum, c.Labels[i], c.Labels[k])
				if i == k {
					cell.Title = fmt.Sprintf("%d of %d right: %s", n, sum, c.Labels[i])
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		out = append(out, row)
	}
	return out
}

// dot of the reliability diagram, in its coordinates of 0…100, y downwards.
type dotAt struct {
	X, Y, R float64
	Title   string
}

func dotsOf(bins []Bin) []dotAt {
	var out []dotAt
	for _, b := range bins {
		out = append(out, dotAt{100 * b.Confidence, 100 - 100*b.Accuracy, 1.6, fmt.Sprintf("%d answers, confidence %.3f, right %.3f", b.N, b.Confidence, b.Accuracy)})
	}
	return out
}
