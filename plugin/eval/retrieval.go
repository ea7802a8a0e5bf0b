package eval

import (
	"context"
	"fmt"
	"strings"
)

// Recall is how often a right one is among the first k.
type Recall struct {
	At1  float64 `json:"1"`
	At5  float64 `json:"5"`
	At10 float64 `json:"10"`
}

// Retrieval is how well pictures and captions find each other.
type Retrieval struct {
	Set         string    `json:"set"`
	Images      int       `json:"images"`
	Captions    int       `json:"captions"`
	ImageToText Recall    `json:"image_to_text"` // any of the picture's own captions counts
	TextToImage Recall    `json:"text_to_image"`
	MR          float64   `json:"mR"` // mean of the six
	Model       ModelInfo `json:"model"`
	Unknown     int       `json:"captions_with_unknown_words"`
	Notes       []string  `json:"notes"`
}

// maxPairs bounds the captions of one measurement: their embeddings are held in memory.
const maxPairs = 1 << 18

// Retrieve ranks all captions for each picture and all pictures for each caption by cosine. Pictures without a caption
// are distractors for captions. Captions are embedded as they are, without a template.
func Retrieve(ctx context.Context, enc Encoder, s *Set, o Options) (*Retrieval, error) {
	m := enc.Model()
	out := &Retrieval{Set: s.Name, Images: len(s.Scenes), Notes: []string{}, Model: modelOf(m)}
	var captions []string
	var owner []int
	for i, scene := range s.Scenes {
		for _, c := range scene.Captions {
			if strings.TrimSpace(c) == "" {
				return nil, fmt.Errorf("%s: an empty caption: %w", scene.Where, ErrLine)
			}
			captions, owner = append(captions, c), append(owner, i)
		}
	}
	switch {
	case len(captions) == 0:
		return nil, fmt.Errorf("%s: no captions in it: retrieval needs a .jsonl file whose lines have `captions`: %w", s.Name, ErrEmpty)
	case len(captions) > maxPairs:
		return nil, fmt.Errorf("%s: %d captions, at most %d: %w", s.Name, len(captions), maxPairs, ErrTooLarge)
	}
	out.Captions = len(captions)
	all := make([]int, len(s.Scenes))
	for i := range all {
		all[i] = i
	}
	images, err := embedScenes(ctx, enc, s, all, o.TTA, o.Progress)
	if err != nil {
		return nil, err
	}
	texts := make([][]float32, 0, len(captions))
	const chunk = 256
	for from := 0; from < len(captions); from += chunk {
		part := captions[from:min(from+chunk, len(captions))]
		got, err := enc.Texts(ctx, part)
		if err != nil {
			return nil, fmt.Errorf("%s: embed captions: %w", s.Scenes[owner[from]].Where, err)
		}
		for _, t := range got {
			texts = append(texts, t.Embedding)
			if len(t.Unknown) > 0 {
				out.Unknown++
			}
		}
	}
	own, others := ranks(images, texts, owner)
	share := func(list []int, k int) float64 {
		n := 0
		for _, rank := range list {
			if rank < k {
				n++
			}
		}
		return float64(n) / float64(len(list))
	}
	count := func(list []int) Recall { return Recall{share(list, 1), share(list, 5), share(list, 10)} }
	out.ImageToText, out.TextToImage = count(own), count(others)
	a, b := out.ImageToText, out.TextToImage
	out.MR = 100 * (a.At1 + a.At5 + a.At10 + b.At1 + b.At5 + b.At10) / 6
	if n := len(all) - len(own); n > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d pictures without a caption are distractors", n))
	}
	return out, nil
}

// ranks are, from 0, the place of each picture's best own caption among all captions, and of each caption's picture
// among all pictures. Pictures without a caption have no place of the first kind.
func ranks(images, texts [][]float32, owner []int) (imageRank, textRank []int) {
	best := make([]float64, len(images))
	has := make([]bool, len(images))
	ownScore := make([]float64, len(texts))
	for c, t := range texts {
		o := owner[c]
		ownScore[c] = dot(t, images[o])
		if !has[o] || ownScore[c] > best[o] {
			best[o], has[o] = ownScore[c], true
		}
	}
	above := make([]int, len(images)) // captions of others that lie nearer than the best own one
	textRank = make([]int, len(texts))
	for c, t := range texts {
		for i, v := range images {
			score := dot(t, v)
			if score > ownScore[c] && i != owner[c] {
				textRank[c]++
			}
			if has[i] && i != owner[c] && score > best[i] {
				above[i]++
			}
		}
	}
	for i, ok := range has {
		if ok {
			imageRank = append(imageRank, above[i])
		}
	}
	return imageRank, textRank
}
