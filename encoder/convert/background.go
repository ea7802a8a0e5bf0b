package convert

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/bundled"
)

// background writes concepts.json and the prompt templates: what a prompt's score is measured against
// (docs/search.md). They are those of the bundled model, which knows the usual classes of aerial scenes, and more land
// cover, which a model of free text knows too. The scale of scores is left to the model's logit scale.
func (w *writer) background() error {
	var known struct {
		Version  int               `json:"version"`
		Concepts []encoder.Concept `json:"concepts"`
	}
	raw, err := bundled.FS().Open("concepts.json")
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := json.NewDecoder(raw).Decode(&known); err != nil {
		return fmt.Errorf("the bundled model's concepts: %w", err)
	}
	for _, c := range landCover {
		if !slices.ContainsFunc(known.Concepts, func(k encoder.Concept) bool {
			return k.Phrase == c.Phrase || slices.Contains(k.Synonyms, c.Phrase)
		}) {
			known.Concepts = append(known.Concepts, c)
		}
	}
	slices.SortFunc(known.Concepts, func(a, b encoder.Concept) int {
		if a.Phrase < b.Phrase {
			return -1
		}
		return 1
	})
	for i := range known.Concepts {
		if known.Concepts[i].Synonyms == nil {
			known.Concepts[i].Synonyms = []string{}
		}
	}
	data, err := json.MarshalIndent(known, "", " ")
	if err != nil {
		return err
	}
	w.m.Concepts, w.m.Templates = "concepts.json", templates
	return w.file(w.m.Concepts, append(data, '\n'))
}

// templates whose embeddings are averaged; an ensemble is worth more than any one of them.
var templates = []string{
	"{}", "a satellite image of {}", "a satellite photo of a {}.", "an aerial image of a {}", "an aerial photograph of {}",
	"a remote sensing image of many {}", "a remote sensing image of the {}", "an overhead view of a {}",
}

// landCover and things that maps show, beyond the classes of aerial scene sets. Sizes in metres.
var landCover = []encoder.Concept{
	{Phrase: "grass", Group: "land"}, {Phrase: "bare soil", Group: "land"}, {Phrase: "cropland", Size: 300, Suggest: true, Group: "land"},
	{Phrase: "orchard", Size: 200, Suggest: true, Group: "land"}, {Phrase: "vineyard", Size: 200, Suggest: true, Group: "land"},
	{Phrase: "wetland", Size: 300, Suggest: true, Group: "water"}, {Phrase: "snow and ice", Group: "land"}, {Phrase: "cloud", Group: "land"},
	{Phrase: "shadow", Group: "land"}, {Phrase: "open water", Group: "water"}, {Phrase: "road", Size: 100, Suggest: true, Group: "transport"},
	{Phrase: "railway", Size: 150, Suggest: true, Group: "transport"}, {Phrase: "roof", Group: "building"},
	{Phrase: "construction site", Size: 150, Suggest: true, Group: "building"}, {Phrase: "quarry", Size: 400, Suggest: true, Group: "industry"},
	{Phrase: "landfill", Size: 400, Suggest: true, Group: "industry"}, {Phrase: "solar farm", Size: 400, Suggest: true, Group: "industry"},
	{Phrase: "wind turbine", Size: 100, Suggest: true, Group: "industry"}, {Phrase: "greenhouse", Size: 100, Suggest: true, Group: "land"},
	{Phrase: "cemetery", Size: 200, Suggest: true, Group: "building"}, {Phrase: "marina", Size: 250, Suggest: true, Group: "water"},
	{Phrase: "dam", Size: 300, Suggest: true, Group: "water"}, {Phrase: "golf course", Size: 600, Suggest: true, Group: "sport"},
	{Phrase: "roundabout", Size: 80, Suggest: true, Group: "transport"}, {Phrase: "power station", Size: 400, Suggest: true, Group: "industry"},
	{Phrase: "water treatment plant", Size: 250, Suggest: true, Group: "industry"}, {Phrase: "blank tile", Group: "other"}, {Phrase: "map label", Group: "other"},
}
