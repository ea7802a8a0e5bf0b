package eval

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/tilescout/tilescout"
)

// Formats are those that Write knows.
func Formats() []string { return []string{"table", "json", "csv", "html"} }

// Result is a measurement that can be written: *Report, *Retrieval, *MapSearch or *Robustness.
type Result interface {
	document() document
}

// Write writes a result as a table of text, as JSON, as CSV of its main table, or as one page of HTML that needs
// nothing else.
func Write(w io.Writer, format string, r Result) error {
	switch format {
	case "json":
		return json.NewEncoder(w).Encode(r)
	case "table":
		return r.document().text(w)
	case "csv":
		return r.document().csv(w)
	case "html":
		return r.document().html(w)
	}
	return fmt.Errorf("format %q: one of %s: %w", format, strings.Join(Formats(), ", "), tilescout.ErrBadInput)
}

// document is what all written forms show: a headline, figures, tables.
type document struct {
	Title  string
	Lead   []string
	Stats  []stat
	Tables []table
	Checks []Check
	Heat   *Confusion
	Bins   []Bin
	Wrong  []Mistake
	Notes  []string
}

// stat is one figure of the headline.
type stat struct{ Name, Value, Note string }

// table is columns and rows; the first table of a document is its CSV.
type table struct {
	Title, Text string
	Columns     []column
	Rows        [][]any // string, int, share or float64
}

// column of a table; a share is drawn as a bar too.
type column struct{ Name, CSV string }

// share is a number from 0 to 1, shown with three decimals.
type share float64

func show(v any) string {
	switch v := v.(type) {
	case share:
		return decimals(float64(v), 3)
	case float64:
		return decimals(v, 3)
	case signed:
		if math.Abs(float64(v)) < .0005 {
			return "0"
		}
		return strings.Replace(fmt.Sprintf("%+.3f", float64(v)), "-", "−", 1)
	}
	return fmt.Sprint(v)
}

// signed is a difference.
type signed float64

func decimals(v float64, n int) string {
	if math.IsNaN(v) {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', n, 64)
}

func (d document) text(w io.Writer) error {
	fmt.Fprintln(w, d.Title)
	for _, line := range d.Lead {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, s := range d.Stats {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Value, s.Note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, tb := range d.Tables {
		fmt.Fprintf(w, "\n%s\n", tb.Title)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for i, c := range tb.Columns {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, strings.ToUpper(c.Name))
		}
		fmt.Fprintln(t)
		for _, row := range tb.Rows {
			for i, v := range row {
				if i > 0 {
					fmt.Fprint(t, "\t")
				}
				fmt.Fprint(t, show(v))
			}
			fmt.Fprintln(t)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(d.Checks) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, c := range d.Checks {
			fmt.Fprintf(t, "%s\t%s\t%s\twant %s\n", verdictWord(c.Pass), c.Name, decimals(c.Value, 3), c.Goal)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, n := range d.Notes {
		fmt.Fprintf(w, "\nnote: %s\n", n)
	}
	return nil
}

func verdictWord(pass bool) string {
	if pass {
		return "pass"
	}
	return "FAIL"
}

func (d document) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	if len(d.Tables) > 0 {
		t := d.Tables[0]
		var head []string
		for _, c := range t.Columns {
			head = append(head, c.CSV)
		}
		_ = out.Write(head) // Flush reports
		for _, row := range t.Rows {
			var cells []string
			for _, v := range row {
				switch v := v.(type) {
				case share:
					cells = append(cells, number(float64(v)))
				case signed:
					cells = append(cells, number(float64(v)))
				case float64:
					cells = append(cells, number(v))
				default:
					cells = append(cells, fmt.Sprint(v))
				}
			}
			_ = out.Write(cells)
		}
	}
	out.Flush()
	return out.Error()
}

// number has as many digits as it takes, at most six decimals.
func number(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
}
