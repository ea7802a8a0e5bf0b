package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/paulmach/orb/geojson"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/plugin/search"
)

// format is what -o says, or what suits where stdout goes.
func (a *app) format(formats ...string) string {
	if a.output != "" {
		return a.output
	}
	if isTerminal(a.stdout) {
		return "table"
	}
	return "json"
}

func (a *app) checkFormat(formats ...string) error {
	if a.output != "" && !slices.Contains(formats, a.output) {
		return fmt.Errorf("-o %s: one of %s: %w", a.output, strings.Join(formats, ", "), errUsage)
	}
	return nil
}

// writeFeatures prints what GET /search answers, byte for byte.
func (a *app) writeFeatures(fc *geojson.FeatureCollection, o answerOptions) error {
	body, err := json.Marshal(fc)
	if err != nil {
		return fmt.Errorf("write geojson: %w", err)
	}
	if _, err := fmt.Fprintf(a.stdout, "%s\n", body); err != nil {
		return err
	}
	if o.exitStatus && fc.ExtraMembers["verdict"] == search.VerdictNone {
		return errNothing
	}
	return nil
}

// row is a match as table, JSON and CSV show it.
type row struct {
	Rank       int      `json:"rank"`
	Score      float64  `json:"score"`
	Similarity *float64 `json:"similarity,omitempty"`
	Tile       string   `json:"tile"`
	Lon        float64  `json:"lon"`
	Lat        float64  `json:"lat"`
}

func rows(matches []search.Match) []row {
	out := make([]row, len(matches))
	for i, m := range matches {
		c := geo.Bound(m.Tile).Center()
		out[i] = row{
			Rank: m.Rank, Score: digits(m.Score, 4), Tile: fmt.Sprintf("%d/%d/%d", m.Tile.Z, m.Tile.X, m.Tile.Y),
			Lon: digits(c[0], 6), Lat: digits(c[1], 6),
		}
		if !math.IsNaN(m.Similarity) {
			s := digits(m.Similarity, 4)
			out[i].Similarity = &s
		}
	}
	return out
}

func digits(v float64, n int) float64 {
	f := math.Pow(10, float64(n))
	return math.Round(v*f) / f
}

func (a *app) writeAnswer(p *parts, layer string, ans search.Answer, o answerOptions) error {
	list := rows(ans.Matches)
	switch a.format(answerFormats...) {
	case "geojson":
		return a.writeFeatures(p.plugin.Matches(layer, ans.Matches, o.geometry == "point"), o)
	case "csv":
		w := csv.NewWriter(a.stdout)
		_ = w.Write([]string{"rank", "score", "tile", "lon", "lat"})
		for _, r := range list {
			_ = w.Write([]string{strconv.Itoa(r.Rank), number(r.Score), r.Tile, number(r.Lon), number(r.Lat)})
		}
		w.Flush()
		return w.Error()
	case "table":
		w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
		if len(list) > 0 {
			fmt.Fprintln(w, "RANK\tSCORE\tLAT, LON\tTILE")
		}
		for _, r := range list {
			fmt.Fprintf(w, "%d\t%.3f\t%.5f, %.5f\t%s\n", r.Rank, r.Score, r.Lat, r.Lon, r.Tile)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, verdictText(ans))
		return nil
	}
	return json.NewEncoder(a.stdout).Encode(map[string]any{
		"layer": layer, "verdict": ans.Verdict, "max": digits(ans.Max, 4), "matched": ans.Matched, "threshold": ans.Threshold,
		"unknown": ans.Unknown, "described": ans.Described, "related": ans.Related, "embedded": ans.Embedded, "total": ans.Total, "matches": list,
	})
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// verdictText says in words how far the answer is to be trusted.
func verdictText(ans search.Answer) string {
	var b strings.Builder
	switch ans.Verdict {
	case search.VerdictMatch:
		fmt.Fprintf(&b, "%d matches among %d tiles", ans.Matched, ans.Embedded)
	case search.VerdictWeak:
		fmt.Fprintf(&b, "no sure match among %d tiles; the closest are shown", ans.Embedded)
	default:
		fmt.Fprintf(&b, "no match among %d tiles", ans.Embedded)
		if len(ans.Matches) > 0 {
			b.WriteString("; the closest are shown")
		}
	}
	if len(ans.Unknown) > 0 {
		fmt.Fprintf(&b, "; the model has not learned: %s", strings.Join(ans.Unknown, ", "))
	}
	for _, d := range ans.Described {
		fmt.Fprintf(&b, "; %s was never shown to the model by that name, it looked for: %s", d.Phrase, d.As)
	}
	if len(ans.Related) > 0 && ans.Verdict != search.VerdictMatch {
		fmt.Fprintf(&b, "; it knows: %s", strings.Join(ans.Related, ", "))
	}
	return b.String()
}

// embedMissing completes the index of what is asked about, unless only a server may write it.
func (a *app) embedMissing(ctx context.Context, p *parts, layer string, box *geo.BBox) error {
	if p.readOnly {
		return nil
	}
	if err := p.engine.MayIndex(layer); err != nil {
		fmt.Fprintf(a.stderr, "tilescout: %s; searching what is embedded\n", oneLine(err))
		return nil
	}
	if n, err := p.engine.JobSize(layer, box); err != nil || n > maxUnasked {
		fmt.Fprintf(a.stderr, "tilescout: layer %s has %d tiles here: searching what is embedded; give --bbox, or run tilescout index first\n", layer, n)
		return nil
	}
	bar := a.progress("Embedding " + layer)
	report, err := p.engine.Index(ctx, layer, search.IndexOptions{Box: box, Progress: bar.update})
	bar.done()
	if err != nil {
		return err
	}
	if report.New > 0 || report.Failed > 0 {
		a.report(layer, report)
	}
	return nil
}
