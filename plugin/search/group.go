package search

import (
	"context"
	"math"
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout/geo"
)

// Area is a group of neighbouring matches.
type Area struct {
	Outline   orb.MultiPolygon
	Tiles     []maptile.Tile
	Rank      int
	ScoreMax  float64
	ScoreMean float64
	AreaM2    float64      // of the tiles, on the ground
	Peak      orb.Point    // centre of the best tile
	Best      maptile.Tile // with detail a part of Within, a tile of a deeper zoom
	Within    maptile.Tile // the index tile that holds Best
}

// growBy is how far below the seed threshold an area may grow.
const growBy = .2

// Areas merges neighbouring tiles: seeds at or above high, grown through 8-neighbours down to
// low = max(floor, high−0.2) (hysteresis, Canny 1986 §V). Best area first.
func (e *Engine) Areas(ctx context.Context, q Query) ([]Area, Answer, error) {
	a, err := e.Search(ctx, q)
	if err != nil {
		return nil, a, err
	}
	x, err := parse(q.Prompts, q.Not)
	if err != nil {
		return nil, a, err
	}
	l, err := e.layer(q.Layer)
	if err != nil {
		return nil, a, err
	}
	scores, err := e.scoresOf(ctx, l, x)
	if err != nil {
		return nil, a, err
	}
	c := e.calibration()
	high := q.Threshold
	if high == 0 {
		high = c.Seed
	}
	low := max(min(c.Floor, high), high-growBy)
	bounds := l.bounds
	if q.Box != nil {
		bounds = intersectAll(q.Box.Bounds(), l.bounds)
	}
	value := map[maptile.Tile]float64{}
	var tiles []maptile.Tile
	add := func(s *Scores, i int) {
		if p := float64(s.values[i]); p >= low && p > 0 && len(tiles) < maxCounted {
			t := geo.FromMorton(s.codes[i], s.Zoom)
			tiles = append(tiles, t)
			value[t] = p
		}
	}
	indexZoom := scores.Zoom
	if q.Detail && scores.Known {
		parts, err := e.parts(ctx, l, x, scores, bounds, float32(low))
		if err != nil {
			return nil, a, err
		}
		for i := range parts.codes {
			add(parts, i)
		}
	} else {
		scores.walk(bounds, geo.Ranges(bounds, scores.Zoom, 256), func(i int) { add(scores, i) })
	}
	var out []Area
	for _, part := range geo.Components(tiles) {
		area := Area{Tiles: part}
		for _, t := range part {
			p := value[t]
			area.ScoreMean += p / float64(len(part))
			if p > area.ScoreMax || (p == area.ScoreMax && geo.Morton(t) < geo.Morton(area.Best)) {
				area.ScoreMax, area.Best = p, t
			}
			side := 256 * geo.GroundResolution(geo.Bound(t).Center().Lat(), t.Z, 256)
			area.AreaM2 += side * side
		}
		if area.ScoreMax < high {
			continue
		}
		area.Peak = geo.Bound(area.Best).Center()
		area.Within = geo.FromMorton(geo.Morton(area.Best)>>(2*(area.Best.Z-indexZoom)), indexZoom)
		out = append(out, area)
	}
	slices.SortStableFunc(out, func(a, b Area) int {
		switch {
		case a.ScoreMax != b.ScoreMax:
			return int(math.Copysign(1, b.ScoreMax-a.ScoreMax))
		case geo.Morton(a.Best) < geo.Morton(b.Best):
			return -1
		}
		return 1
	})
	out = out[:min(len(out), limitOf(q))]
	for i := range out {
		out[i].Rank = i + 1
		out[i].Outline = geo.Polygons(out[i].Tiles)
	}
	return out, a, nil
}

func limitOf(q Query) int {
	if q.Limit == 0 {
		return 100
	}
	return q.Limit
}

// Peaks thins matches to one per place: a match stays if none of its eight neighbours, columns wrapped
// at 180°, is a better match.
func Peaks(matches []Match) []Match {
	rank := make(map[maptile.Tile]int, len(matches))
	for _, m := range matches {
		rank[m.Tile] = m.Rank
	}
	var out []Match
	for _, m := range matches {
		if isPeak(m, rank) {
			m.Rank = len(out) + 1
			out = append(out, m)
		}
	}
	return out
}

func isPeak(m Match, rank map[maptile.Tile]int) bool {
	side := int64(1) << m.Tile.Z
	for dy := int64(-1); dy <= 1; dy++ {
		for dx := int64(-1); dx <= 1; dx++ {
			x, y := (int64(m.Tile.X)+dx+side)%side, int64(m.Tile.Y)+dy
			if (dx == 0 && dy == 0) || y < 0 || y >= side {
				continue
			}
			if r, ok := rank[maptile.New(uint32(x), uint32(y), m.Tile.Z)]; ok && r < m.Rank {
				return false
			}
		}
	}
	return true
}
