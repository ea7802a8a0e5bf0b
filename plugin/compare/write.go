package compare

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/tilescout/tilescout/plugin/search"
)

// JSON writes the report as it is.
func (r Report) JSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// Text writes one line a prompt, and what holds for all.
func (r Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "PROMPT\t%s\t\t\t%s\t\t\tSHARED\tRANKS\n", r.A.name("A"), r.B.name("B"))
	for _, p := range r.Prompts {
		fmt.Fprintf(t, "%s\t%s\t%.3f\t%s\t%s\t%.3f\t%s\t%d of %d\t%s\n", p.Prompt,
			verdict(p.A), p.A.Max, p.A.first(), verdict(p.B), p.B.Max, p.B.first(), p.Shared, p.Of, number(p.Correlation))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d tiles of %s. Of the best %d, both name %.0f %%; the order of all tiles correlates by %s.\n",
		r.Tiles, r.Layer, top, 100*r.Shared, number(r.Correlation))
	return err
}

// CSV writes a line for each of the best tiles of each model and prompt.
func (r Report) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"prompt", "model", "verdict", "max", "shared", "of", "correlation", "rank", "tile", "score"}) // Error has it
	for _, p := range r.Prompts {
		for _, side := range []struct {
			model Model
			said  Answer
		}{{r.A, p.A}, {r.B, p.B}} {
			head := []string{p.Prompt, side.model.ID, string(side.said.Verdict), decimal(side.said.Max), strconv.Itoa(p.Shared), strconv.Itoa(p.Of), ""}
			if p.Correlation != nil {
				head[6] = decimal(*p.Correlation)
			}
			if len(side.said.Best) == 0 {
				_ = c.Write(append(head, "", "", ""))
			}
			for i, t := range side.said.Best {
				_ = c.Write(append(head[:7:7], strconv.Itoa(i+1), t.Tile, decimal(t.Score)))
			}
		}
	}
	c.Flush()
	return c.Error()
}

// name of a model; two of one name are told apart by their digests.
func (m Model) name(side string) string { return fmt.Sprintf("%s: %s (%.8s)", side, m.ID, m.Digest) }

func verdict(a Answer) string {
	if len(a.Unknown) > 0 && a.Verdict == search.VerdictNone {
		return "unknown word"
	}
	return string(a.Verdict)
}

// first is the best tile.
func (a Answer) first() string {
	if len(a.Best) == 0 {
		return "–"
	}
	return a.Best[0].Tile
}

func number(v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", *v)
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
