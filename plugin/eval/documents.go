package eval

import (
	"fmt"
	"slices"
	"strings"
)

func lead(set string, n int, m *ModelInfo, templates []string, orientations int) []string {
	line := fmt.Sprintf("%s, %d pictures", set, n)
	if m == nil {
		return []string{strings.TrimPrefix(line, ", ") + ", probabilities from a file"}
	}
	out := []string{line, fmt.Sprintf("model %s (%.12s), %d px, %s", m.ID, m.Digest, m.InputSize, m.Provider)}
	if len(templates) > 0 {
		out = append(out, fmt.Sprintf("%d templates: %s", len(templates), strings.Join(templates, " · ")))
	}
	if orientations > 1 {
		out = append(out, fmt.Sprintf("each picture in %d orientations, their embeddings averaged", orientations))
	}
	return out
}

func interval(i Interval) string {
	return fmt.Sprintf("%s – %s", decimals(i[0], 3), decimals(i[1], 3))
}

func (r *Report) document() document {
	d := document{Title: "Zero-shot classification", Lead: lead(r.Set, r.N, r.Model, r.Templates, r.Orientation), Checks: r.Checks, Heat: &r.Confusion, Bins: r.Calibration.Bins, Wrong: r.Mistakes, Notes: r.Notes}
	add := func(k int, v float64, i Interval) {
		d.Stats = append(d.Stats, stat{fmt.Sprintf("top-%d", k), decimals(v, 4), interval(i)})
	}
	add(1, r.TopK.At1, r.Intervals.At1)
	add(3, r.TopK.At3, r.Intervals.At3)
	add(5, r.TopK.At5, r.Intervals.At5)
	add(10, r.TopK.At10, r.Intervals.At10)
	c := r.Calibration
	d.Stats = append(d.Stats, stat{"mAP", decimals(r.MAP, 3), fmt.Sprintf("over %d classes", len(r.Classes))},
		stat{"ECE", decimals(c.ECE, 3), scaleText("over the labels", c.Scale)}, stat{"Brier", decimals(c.Brier, 3), "0 to 2"})
	if c.LogitScale != nil {
		d.Stats = append(d.Stats, stat{"ECE, logit scale", decimals(c.LogitScale.ECE, 3), scaleText(fmt.Sprintf("Brier %s", decimals(c.LogitScale.Brier, 3)), c.LogitScale.Scale)})
	}
	if v := c.Vocabulary; v != nil {
		d.Stats = append(d.Stats, stat{"ECE, vocabulary", decimals(v.ECE, 3), fmt.Sprintf("top-1 %s of %d", decimals(v.Top1, 3), v.N)})
	}
	d.Stats = append(d.Stats, stat{"macro-F1", decimals(c.Best.F1, 3), fmt.Sprintf("best, p ≥ %s: P %s R %s", decimals(c.Best.At, 2), decimals(c.Best.Precision, 2), decimals(c.Best.Recall, 2))})
	if s := c.Stored; s != nil {
		d.Stats = append(d.Stats, stat{"macro-F1, stored", decimals(s.F1, 3), fmt.Sprintf("p ≥ %s: P %s R %s", decimals(s.At, 2), decimals(s.Precision, 2), decimals(s.Recall, 2))})
	}
	d.presence(r.Presence)
	t := table{
		Title: "Classes", Text: "Sorted by the share of right first answers; AP ranks all pictures by the class's probability.",
		Columns: []column{{"class", "class"}, {"asked as", "phrase"}, {"n", "n"}, {"top-1", "top1"}, {"AP", "ap"}, {"most often taken for", "confused"}, {"times", "confused_n"}},
	}
	for _, c := range slices.SortedStableFunc(slices.Values(r.Classes), func(a, b Class) int {
		switch {
		case a.Top1 < b.Top1:
			return -1
		case a.Top1 > b.Top1:
			return 1
		}
		return strings.Compare(a.Class, b.Class)
	}) {
		t.Rows = append(t.Rows, []any{c.Class, c.Phrase, c.N, share(c.Top1), share(c.AP), c.Confused, c.ConfusedN})
	}
	d.Tables = append(d.Tables, t)
	return d
}

func (d *document) presence(p *Presence) {
	if p == nil {
		return
	}
	d.Stats = append(d.Stats,
		stat{"presence AUROC", decimals(p.AUROC, 3), fmt.Sprintf("%d true in %d tiles; best three %s", p.True, p.Tiles, decimals(p.AUROCTop3, 3))},
		stat{"verdict match", decimals(p.Found, 3), fmt.Sprintf("with the thing, %s without", decimals(p.FalseAlarm, 3))},
		stat{"verdict weak or better", decimals(p.WeakFound, 3), fmt.Sprintf("with the thing, %s without", decimals(p.WeakAlarm, 3))})
}

func scaleText(s string, scale float64) string {
	if scale <= 0 {
		return s
	}
	return fmt.Sprintf("%s, scale %s", s, number(scale))
}

func (r *Retrieval) document() document {
	d := document{Title: "Retrieval by captions", Lead: lead(r.Set, r.Images, &r.Model, nil, 0), Notes: r.Notes}
	d.Lead = append(d.Lead, fmt.Sprintf("%d captions, %d of them with words that the model has not learned", r.Captions, r.Unknown))
	d.Stats = []stat{{"mR", decimals(r.MR, 1), "mean of the six, in percent"}}
	t := table{Title: "Recall", Text: "A picture finds its captions if any of its own is among the first k.", Columns: []column{{"direction", "direction"}, {"R@1", "r1"}, {"R@5", "r5"}, {"R@10", "r10"}}}
	for _, row := range []struct {
		name string
		r    Recall
	}{{"image to text", r.ImageToText}, {"text to image", r.TextToImage}} {
		t.Rows = append(t.Rows, []any{row.name, share(row.r.At1), share(row.r.At5), share(row.r.At10)})
	}
	d.Tables = append(d.Tables, t)
	return d
}

func (r *MapSearch) document() document {
	d := document{Title: "Search on a map", Lead: lead(r.Set, r.N, &r.Model, nil, 0), Checks: r.Checks, Notes: r.Notes}
	embedded := "tiles alone are embedded"
	if r.Overlap > 1 {
		embedded = "tiles and windows half a tile off are embedded"
	}
	d.Lead = append(d.Lead, fmt.Sprintf("one scene a tile, %d distractors for each right scene; the shifted mosaic cuts every scene into four; %s", r.Distractors, embedded))
	d.Stats = []stat{
		{"mAP", decimals(r.Aligned.MAP, 3), fmt.Sprintf("shifted %s", decimals(r.Shifted.MAP, 3))},
		{"P@10", decimals(r.Aligned.P10, 3), fmt.Sprintf("shifted %s", decimals(r.Shifted.P10, 3))},
		{"recall", decimals(r.Aligned.Recall, 3), fmt.Sprintf("at precision ≥ ½; shifted %s", decimals(r.Shifted.Recall, 3))},
		{"shifted / aligned", decimals(r.BorderRatio, 3), "of mAP"},
		{"mAP over tiles", decimals(r.Aligned.Tiles, 3), fmt.Sprintf("every tile that shows a part; shifted %s", decimals(r.Shifted.Tiles, 3))},
	}
	if len(r.Synonyms) > 0 {
		d.Stats = append(d.Stats, stat{"synonyms", decimals(r.SynonymMean, 3), "of the labels' own AP, mean"})
	}
	d.presence(r.Presence)
	if p := r.Pointing; p != nil {
		d.Stats = append(d.Stats, stat{"pointing game", decimals(p.Share, 3), fmt.Sprintf("%d of the zoom above; cut scenes %s; chance .25", p.N, decimals(p.Shifted, 3))})
	}
	t := table{
		Title: "Concepts", Text: "Average precision over scenes: a tile that shows a scene already found does not count again.",
		Columns: []column{{"class", "class"}, {"asked as", "phrase"}, {"scenes", "scenes"}, {"AP", "ap"}, {"AP shifted", "shifted_ap"}, {"P@10", "p10"}, {"recall", "recall"}},
	}
	for _, c := range slices.SortedStableFunc(slices.Values(r.Concepts), func(a, b Concept) int { return compare(a.AP, b.AP) }) {
		t.Rows = append(t.Rows, []any{c.Class, c.Phrase, c.Scenes, share(c.AP), share(c.ShiftedAP), share(c.P10), share(c.Recall)})
	}
	s := table{
		Title: "Synonyms", Text: "Phrases that are no label, against the best label for the same scenes.",
		Columns: []column{{"phrase", "phrase"}, {"for", "classes"}, {"AP", "ap"}, {"label's AP", "own_ap"}, {"ratio", "ratio"}, {"not learned", "unknown"}},
	}
	for _, y := range slices.SortedStableFunc(slices.Values(r.Synonyms), func(a, b Synonym) int { return compare(a.Ratio, b.Ratio) }) {
		s.Rows = append(s.Rows, []any{y.Phrase, strings.Join(y.Classes, ", "), share(y.AP), share(y.OwnAP), y.Ratio, strings.Join(y.Unknown, ", ")})
	}
	d.Tables = []table{t}
	if len(s.Rows) > 0 {
		d.Tables = append(d.Tables, s)
	}
	return d
}

func (r *Robustness) document() document {
	d := document{Title: "Accuracy under disturbances", Lead: lead(r.Set, r.N, &r.Model, r.Templates, 0), Notes: r.Notes}
	t := table{
		Title: "Disturbances", Text: "Pictures as 256 px tiles; the difference is that of top-1 to the undisturbed tile, the cosine that of the embeddings.",
		Columns: []column{{"disturbance", "disturbance"}, {"n", "n"}, {"top-1", "top1"}, {"top-3", "top3"}, {"difference", "difference"}, {"95 %", "interval"}, {"cosine", "cosine"}},
	}
	if r.Curve != "" {
		d.Title, t.Title = "Accuracy over ground resolution", "Factors of the ground resolution"
		t.Text = "Above 1: the same scene with coarser pixels (detail of 128 px divided by the factor). Below 1: the middle of the scene, enlarged."
	}
	worst := 0
	for i, row := range r.Rows {
		t.Rows = append(t.Rows, []any{row.Name, row.N, share(row.Top1), share(row.Top3), signed(row.Difference), interval(row.Interval), share(row.Cosine)})
		if row.Difference < r.Rows[worst].Difference {
			worst = i
		}
	}
	d.Tables = []table{t}
	for _, row := range r.Rows {
		if row.Difference == 0 && (row.Factor == 1 || r.Curve == "") {
			d.Stats = append(d.Stats, stat{"undisturbed", decimals(row.Top1, 4), "top-1 " + interval(row.Interval)})
			break
		}
	}
	if len(r.Rows) > 1 {
		d.Stats = append(d.Stats, stat{"worst", decimals(r.Rows[worst].Top1, 4), r.Rows[worst].Name})
	}
	return d
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
