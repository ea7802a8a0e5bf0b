package geo

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
)

// BBox is a box in degrees as clients write it. West > East crosses the 180° meridian (RFC 7946 §5.2).
type BBox struct{ West, South, East, North float64 }

// ParseBBox reads "west,south,east,north" in degrees: longitudes −180…180, latitudes −90…90, south ≤ north.
// Anything else is ErrBadInput.
func ParseBBox(s string) (BBox, error) {
	if len(s) > 200 {
		return BBox{}, fmt.Errorf("bbox: %d characters, want four numbers: %w", len(s), tilescout.ErrBadInput)
	}
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return BBox{}, fmt.Errorf("bbox %q: want west,south,east,north: %w", s, tilescout.ErrBadInput)
	}
	var v [4]float64
	for i, p := range parts {
		p = strings.TrimSpace(p)
		f, err := strconv.ParseFloat(p, 64)
		// ParseFloat also takes "inf", "nan" and hexadecimal.
		if err != nil || strings.Trim(p, "0123456789+-.eE") != "" {
			return BBox{}, fmt.Errorf("bbox: %q is not a number of degrees: %w", p, tilescout.ErrBadInput)
		}
		limit := 180.0
		if i%2 == 1 {
			limit = 90
		}
		if f < -limit || f > limit {
			return BBox{}, fmt.Errorf("bbox: %s %v is outside ±%v degrees: %w",
				[]string{"west", "south", "east", "north"}[i], f, limit, tilescout.ErrBadInput)
		}
		v[i] = f
	}
	b := BBox{v[0], v[1], v[2], v[3]}
	if b.South > b.North {
		return BBox{}, fmt.Errorf("bbox %q: south is north of north: %w", s, tilescout.ErrBadInput)
	}
	return b, nil
}

// Bounds returns the box as one bound, or as two, eastern hemisphere first, if it crosses the 180° meridian.
func (b BBox) Bounds() []orb.Bound {
	if b.West <= b.East {
		return []orb.Bound{{Min: orb.Point{b.West, b.South}, Max: orb.Point{b.East, b.North}}}
	}
	var out []orb.Bound
	if b.West < 180 {
		out = append(out, orb.Bound{Min: orb.Point{b.West, b.South}, Max: orb.Point{180, b.North}})
	}
	if b.East > -180 || len(out) == 0 {
		out = append(out, orb.Bound{Min: orb.Point{-180, b.South}, Max: orb.Point{b.East, b.North}})
	}
	return out
}
