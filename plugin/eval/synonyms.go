package eval

import (
	"context"
	"fmt"
	"slices"

	"github.com/tilescout/tilescout/plugin/search"
)

// SynonymOf is a phrase and the classes whose scenes answer it.
type SynonymOf struct {
	Phrase  string
	Classes []string
}

// Synonym is what a phrase finds that is nobody's label, beside what the labels themselves find.
type Synonym struct {
	Phrase  string   `json:"phrase"`
	Classes []string `json:"classes"`
	AP      float64  `json:"ap"`
	OwnAP   float64  `json:"own_ap"` // of the best of the classes' labels, for the same scenes
	Ratio   float64  `json:"ratio"`
	Unknown []string `json:"unknown,omitempty"`
}

// usualSynonyms are phrases for classes of aerial scene sets that are not their labels, and that scenes of other classes
// do not show as well: "trees" would not be one for forest.
func usualSynonyms() []SynonymOf {
	return []SynonymOf{
		{"airfield", []string{"airport"}}, {"aerodrome", []string{"airport"}},
		{"football pitch", []string{"playground"}}, {"athletics track", []string{"playground"}}, {"soccer field", []string{"playground"}},
		{"rows of houses", []string{"mediumresidential", "denseresidential"}},
		{"detached houses among trees", []string{"sparseresidential"}},
		{"boats in a marina", []string{"port", "harbor"}}, {"harbour", []string{"port", "harbor"}}, {"ships in a dock", []string{"port", "harbor"}},
		{"car park", []string{"parking", "parkinglot"}}, {"many parked cars", []string{"parking", "parkinglot"}},
		{"woods", []string{"forest"}}, {"woodland", []string{"forest"}},
		{"oil tanks", []string{"storagetanks"}}, {"fuel depot", []string{"storagetanks"}},
		{"baseball diamond", []string{"baseballfield", "baseballdiamond"}},
		{"train station", []string{"railwaystation"}}, {"railway tracks", []string{"railwaystation"}},
		{"flyover", []string{"viaduct", "overpass"}}, {"road interchange", []string{"viaduct", "overpass"}},
		{"factory", []string{"industrial"}}, {"sandy coast", []string{"beach"}}, {"seashore", []string{"beach"}},
		{"crop fields", []string{"farmland", "agricultural"}}, {"grassland", []string{"meadow"}}, {"sand dunes", []string{"desert"}},
		{"bare soil", []string{"bareland"}}, {"hills", []string{"mountain"}}, {"small lake", []string{"pond"}}, {"stream", []string{"river"}},
		{"arena", []string{"stadium"}}, {"city plaza", []string{"square"}}, {"campus", []string{"school"}}, {"cathedral", []string{"church"}},
		{"shopping mall", []string{"commercial"}}, {"holiday resort", []string{"resort"}}, {"public garden", []string{"park"}},
	}
}

// synonyms asks for phrases that are not labels and compares with the labels' own answers.
func (r *MapSearch) synonyms(ctx context.Context, e *search.Engine, m *mosaic, labels []Label, own []asked, list []SynonymOf) error {
	if list == nil {
		list = usualSynonyms()
	}
	understood := 0
	for _, s := range list {
		var classes []int
		for i, l := range labels {
			if slices.ContainsFunc(s.Classes, func(c string) bool { return fold(c) == fold(l.Class) }) && slices.Contains(m.truth, i) {
				classes = append(classes, i)
			}
		}
		if len(classes) == 0 || slices.ContainsFunc(own, func(a asked) bool { return search.Normalize(a.Phrase) == search.Normalize(s.Phrase) }) {
			continue
		}
		right := func(label int) bool { return slices.Contains(classes, label) }
		scores, err := e.Scores(ctx, m.id, []string{`"` + s.Phrase + `"`}, nil)
		if err != nil {
			return fmt.Errorf("ask %q: %w", s.Phrase, err)
		}
		out := Synonym{Phrase: s.Phrase, Unknown: scores.Unknown}
		tiles, err := m.ask(ctx, e, s.Phrase)
		if err != nil {
			return err
		}
		out.AP = m.judge(tiles, right).ap
		for _, i := range classes {
			out.Classes = append(out.Classes, labels[i].Class)
			answer, err := m.ask(ctx, e, own[i].Phrase)
			if err != nil {
				return err
			}
			out.OwnAP = max(out.OwnAP, m.judge(answer, right).ap)
		}
		out.Ratio = out.AP / out.OwnAP
		r.Synonyms = append(r.Synonyms, out)
		if scores.Known {
			r.SynonymMean += out.Ratio
			understood++
		} else {
			r.Notes = append(r.Notes, fmt.Sprintf("%q: not one of its words is known; it is reported, answered with nothing, and left out of the synonyms' mean", s.Phrase))
		}
	}
	if understood > 0 {
		r.SynonymMean /= float64(understood)
	}
	return nil
}
