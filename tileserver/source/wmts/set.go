package wmts

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

const (
	pixelSize       = 0.00028             // metres: the pixel that scale denominators are of (OGC 07-057r7 §6.1)
	metersPerDegree = 111319.490793273573 // 2π · 6378137 / 360
	maxMatrices     = 64
)

// pickSet returns the matrix set to use: the one asked for, else the one closest to web maps.
func pickSet(c *capabilities, l *layer, name string) (pyramid.Set, error) {
	var ids, why []string
	var best pyramid.Set
	bestRank := -1
	for _, ln := range l.Links {
		id := strings.TrimSpace(ln.Set)
		i := slices.IndexFunc(c.Sets, func(s matrixSet) bool { return strings.TrimSpace(s.ID) == id })
		if i < 0 {
			continue
		}
		ids = append(ids, id)
		if name != "" && !strings.EqualFold(id, name) {
			continue
		}
		set, err := c.Sets[i].build(ln.Limits, l.bounds())
		if err != nil {
			why = append(why, fmt.Sprintf("%s: %v", upstream.Text(id, 40), err))
			continue
		}
		if r := set.Rank(); r > bestRank {
			best, bestRank = set, r
		}
	}
	switch {
	case bestRank >= 0:
		return best, nil
	case name != "" && len(why) == 0:
		return pyramid.Set{}, fmt.Errorf("layer %s has no tile matrix set %.60q; there are: %s: %w", upstream.Text(l.ID, 60), name, upstream.Choices(ids), tilescout.ErrBadInput)
	case len(why) == 0:
		return pyramid.Set{}, fmt.Errorf("layer %s names no tile matrix set of the document: %w", upstream.Text(l.ID, 60), upstream.ErrCapabilities)
	}
	return pyramid.Set{}, fmt.Errorf("layer %s has no tile matrix set that can be used (%s): %w", upstream.Text(l.ID, 60), upstream.Text(strings.Join(why, "; "), 400), upstream.ErrCapabilities)
}

// build turns a set of the document into one of ours. Matrices with impossible numbers are left out.
func (s matrixSet) build(limits []limit, bounds []orb.Bound) (pyramid.Set, error) {
	name, err := resample.ParseName(s.CRS)
	if err != nil {
		return pyramid.Set{}, fmt.Errorf("coordinate reference system %.60q is not known", strings.TrimSpace(s.CRS))
	}
	crs, err := name.CRS()
	if err != nil {
		return pyramid.Set{}, fmt.Errorf("coordinate reference system EPSG:%d is not known", name.EPSG)
	}
	set := built{pyramid.Set{ID: strings.TrimSpace(s.ID), CRS: crs}}
	swapped := set
	for _, m := range s.Matrices {
		if len(set.Matrices) == maxMatrices {
			break
		}
		p, ok := m.build(crs.Geographic)
		if !ok || !restrict(&p, limits) || !p.Valid() {
			continue
		}
		q := p
		q.X, q.Y = p.Y, p.X
		set.Matrices, swapped.Matrices = append(set.Matrices, p), append(swapped.Matrices, q)
	}
	if len(set.Matrices) == 0 {
		return pyramid.Set{}, fmt.Errorf("no usable matrix")
	}
	if crs.Geographic && set.onSphere() {
		for i := range set.Matrices {
			set.Matrices[i].Resolution *= sphere
			swapped.Matrices[i].Resolution *= sphere
		}
	}
	if name.NorthFirst {
		set, swapped = swapped, set
	}
	// Servers get the order of axes wrong; where the layer lies tells.
	if !set.Covers(bounds) && swapped.Covers(bounds) {
		set = swapped
	}
	return set.Set, nil
}

// sphere is what a degree counts as on WGS 84 over what it counts as on the sphere of 6371007.181 m (EPSG:7048), on
// which NASA and others after it reckoned the scales of grids in degrees.
const sphere = 6378137 / 6371007.181

type built struct{ pyramid.Set }

// onSphere tells whether the scales make whole numbers of pixels round the earth on that sphere, and on WGS 84 do not.
func (s built) onSphere() bool {
	whole := func(n float64) bool { return math.Abs(n-math.Round(n)) < 1e-3 }
	for _, m := range s.Matrices {
		n := 360 / m.Resolution
		if whole(n) || !whole(n/sphere) || n > 1e6 {
			return false
		}
	}
	return true
}

// build reads the numbers; the corner is taken as x, y.
func (m matrix) build(geographic bool) (p pyramid.Matrix, ok bool) {
	scale, err := strconv.ParseFloat(strings.TrimSpace(m.Scale), 64)
	x, y, okCorner := pair(m.TopLeft)
	tw, okW := number(m.TileW)
	th, okH := number(m.TileH)
	w, okMW := number(m.Width)
	h, okMH := number(m.Height)
	if err != nil || math.IsNaN(scale) || !okCorner || !okW || !okH || !okMW || !okMH || tw > 1<<16 || th > 1<<16 || tw < 1 || th < 1 || w < 1 || h < 1 {
		return pyramid.Matrix{}, false
	}
	p = pyramid.Matrix{
		ID: strings.TrimSpace(m.ID), Resolution: scale * pixelSize, X: x, Y: y,
		TileWidth: int(tw), TileHeight: int(th), MaxCol: w - 1, MaxRow: h - 1,
	}
	if geographic {
		p.Resolution /= metersPerDegree
	}
	return p, true
}

// restrict applies the limits of a layer. Where there are some, a matrix that they do not list has no tiles; one that
// contradicts its matrix is not believed.
func restrict(p *pyramid.Matrix, limits []limit) bool {
	if len(limits) == 0 {
		return true
	}
	for _, l := range limits {
		if strings.TrimSpace(l.Matrix) != p.ID {
			continue
		}
		minCol, ok1 := number(l.MinCol)
		maxCol, ok2 := number(l.MaxCol)
		minRow, ok3 := number(l.MinRow)
		maxRow, ok4 := number(l.MaxRow)
		if !ok1 || !ok2 || !ok3 || !ok4 || minCol > maxCol || minRow > maxRow || minCol < 0 || minRow < 0 || maxCol > p.MaxCol || maxRow > p.MaxRow {
			return true
		}
		p.MinCol, p.MaxCol, p.MinRow, p.MaxRow = minCol, maxCol, minRow, maxRow
		return true
	}
	return false
}
