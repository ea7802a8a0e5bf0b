package eval

import (
	"context"
	"fmt"
	"math"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

// Pointing is how often the best cell of a tile's dense output lies where the scene does (the pointing game of Zhang et
// al. 2018). The tiles show four scenes each, one a quadrant; chance is one in four.
type Pointing struct {
	N       int     `json:"n"`       // scene and tile pairs, of tiles of the zoom above
	Share   float64 `json:"share"`   // of them pointed at rightly
	Shifted float64 `json:"shifted"` // the same in shifted tiles, each of which shows a quarter of four scenes
	Cells   int     `json:"cells"`   // a side
}

// pointing plays the game on tiles of the zoom above in the aligned mosaic, and on the tiles of the shifted one.
func pointing(ctx context.Context, enc Encoder, dense Cells, aligned, shifted *mosaic, labels []asked) (*Pointing, error) {
	b, err := newBackground(ctx, enc, enc.Model())
	if err != nil || b == nil {
		return nil, err
	}
	p := &Pointing{Cells: dense.Side()}
	if p.Cells < 2 {
		return nil, nil
	}
	var same [][]bool
	for _, a := range labels {
		same = append(same, b.same(a.Phrase, a.vector))
	}
	var parents, cut []quadrants
	for y := 0; y+1 < aligned.side; y += 2 {
		for x := 0; x+1 < aligned.side; x += 2 {
			if q, ok := aligned.quadrants(x, y, 0); ok {
				q.tile = maptile.New(uint32(mosaicX+x)/2, uint32(mosaicY+y)/2, mosaicZoom-1)
				parents = append(parents, q)
			}
		}
	}
	for y := 1; y < shifted.side; y++ {
		for x := 1; x < shifted.side; x++ {
			if q, ok := shifted.quadrants(x, y, -1); ok {
				q.tile = maptile.New(uint32(mosaicX+x), uint32(mosaicY+y), mosaicZoom)
				cut = append(cut, q)
			}
		}
	}
	if p.Share, p.N, err = point(ctx, dense, aligned, parents, b, labels, same); err != nil {
		return nil, err
	}
	p.Shifted, _, err = point(ctx, dense, shifted, cut, b, labels, same)
	return p, err
}

// quadrants is a tile that shows four scenes: north-west, north-east, south-west, south-east.
type quadrants struct {
	tile  maptile.Tile
	label [4]int
}

// quadrants of the four scenes from (x, y), or around its corner; false where one of them is not there.
func (m *mosaic) quadrants(x, y, from int) (q quadrants, ok bool) {
	for k := range q.label {
		column, row := x+from+k%2, y+from+k/2
		i := row*m.side + column
		if column < 0 || row < 0 || column >= m.side || i >= len(m.truth) {
			return q, false
		}
		q.label[k] = m.truth[i]
	}
	return q, true
}

// point is the share of labels in the tiles whose best cell lies in a quadrant of that label.
func point(ctx context.Context, dense Cells, m *mosaic, tiles []quadrants, b *background, labels []asked, same [][]bool) (share float64, n int, err error) {
	const chunk = 32
	side, hits := dense.Side(), 0
	for from := 0; from < len(tiles); from += chunk {
		part := tiles[from:min(from+chunk, len(tiles))]
		pics := make([]tilescout.Picture, len(part))
		for i, q := range part {
			if pics[i], err = m.Tile(ctx, q.tile); err != nil {
				return 0, 0, err
			}
		}
		grids, err := dense.Cells(ctx, pics)
		if err != nil {
			return 0, 0, fmt.Errorf("pointing game: %w", err)
		}
		for i, q := range part {
			logits := b.logits(grids[i])
			asked := map[int]bool{}
			for _, label := range q.label {
				if asked[label] {
					continue
				}
				asked[label] = true
				best, top := 0, math.Inf(-1)
				for c, v := range grids[i] {
					own := b.scale * dot(labels[label].vector, v)
					if s := own - rest(logits[c], same[label]); s > top {
						best, top = c, s
					}
				}
				n++
				if x, y := best%side, best/side; q.label[quadrant(x, side)+2*quadrant(y, side)] == label {
					hits++
				}
			}
		}
	}
	return float64(hits) / float64(max(1, n)), n, nil
}

// quadrant is 0 for the first half of the cells, 1 for the second.
func quadrant(cell, side int) int {
	if 2*cell+1 < side {
		return 0
	}
	return 1
}

// rest is the log-sum of the concepts that are not the label's own.
func rest(logits []float64, same []bool) float64 {
	top := math.Inf(-1)
	for k, l := range logits {
		if !same[k] {
			top = max(top, l)
		}
	}
	sum := 0.0
	for k, l := range logits {
		if !same[k] {
			sum += math.Exp(l - top)
		}
	}
	return top + math.Log(sum)
}
