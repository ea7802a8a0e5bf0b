package plugin

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
)

// PendingHeader counts the tiles beneath an overlay tile that still wait to be embedded.
const PendingHeader = "Tilescout-Pending"

// Cache-Control of overlay tiles: QGIS' disk cache obeys no-store only (docs/clients.md), so what is not
// final, or has no revision in its URL, is never stored.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-store"
)

func (p *Plugin) overlayPNG(w http.ResponseWriter, r *http.Request) error {
	return p.overlay(w, r, "png", tilescout.PNG, func(ctx context.Context, layer string, t maptile.Tile, q Question) ([]byte, error) {
		return p.render(ctx, layer, t, q)
	})
}

// overlay answers one overlay tile in any format: the tiles beneath are asked for, then what is known is drawn.
func (p *Plugin) overlay(w http.ResponseWriter, r *http.Request, format, mediaType string,
	make func(context.Context, string, maptile.Tile, Question) ([]byte, error)) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	t, err := pathTile(r)
	if err != nil {
		return err
	}
	layer := mux.Vars(r)["layer"]
	info, err := p.engine.LayerInfo(layer)
	if err != nil {
		return err
	}
	if t.Z > maxOverlayZoom {
		return fmt.Errorf("tile %s: overlays have zooms 0 to %d: %w", tileID(t), maxOverlayZoom, tilescout.ErrOutOfRange)
	}
	// The prompt is checked before any work is started for it.
	if err := search.Check(q.Prompts, q.Not); err != nil {
		return err
	}
	pending, err := p.engine.Fill(r.Context(), layer, t, p.wait)
	if err != nil {
		return err
	}
	rev := p.engine.Revision(layer)
	tag := etag([]byte(fmt.Sprint(rev, format, tileID(t), q.values().Encode(), q.Veil, q.Threshold, info.Version)))
	cache := cacheNever
	switch {
	case pending.Missing > 0:
		w.Header().Set(PendingHeader, strconv.Itoa(pending.Missing))
		tag = etag([]byte(tag + strconv.FormatInt(time.Now().UnixNano(), 36)))
	case q.Rev == rev:
		cache = cacheForever
	case format == "mvt":
		cache = "no-cache"
	}
	if notModified(w, r, tag, cache) {
		return nil
	}
	body, err := make(r.Context(), layer, t, q)
	if err != nil {
		return err
	}
	return writeBody(w, r, mediaType, cache, tag, body)
}

// maxOverlayZoom is the deepest zoom that map clients ask for.
const maxOverlayZoom = 24

// render draws an overlay tile as PNG with an alpha channel.
func (p *Plugin) render(ctx context.Context, layer string, t maptile.Tile, q Question) ([]byte, error) {
	scores, err := p.scores(ctx, layer, t, q)
	if err != nil {
		return nil, err
	}
	cut := q.Threshold
	if cut == 0 {
		cut = p.engine.Calibration().Floor
	}
	d := drawing{
		size: 256, style: q.Style, cut: cut, veil: q.Veil,
		palette: newPalette(cut, q.Opacity, q.Colour),
		line:    color.NRGBA{150, 0, 90, uint8(min(254, 250*q.Opacity))},
	}
	if q.Colour.A != 0 {
		d.line = color.NRGBA{q.Colour.R, q.Colour.G, q.Colour.B, d.line.A}
	}
	var looked func(maptile.Tile) bool
	if q.Veil && !q.Detail {
		looked = func(t maptile.Tile) bool { return p.engine.Looked(layer, t) }
	}
	return encodePNG(d, newField(scores, t, looked))
}

// scores are those of the tiles beneath t, or with detail of their parts.
func (p *Plugin) scores(ctx context.Context, layer string, t maptile.Tile, q Question) (*search.Scores, error) {
	if q.Detail {
		return p.engine.Detail(ctx, layer, q.Prompts, q.Not, t)
	}
	return p.engine.Scores(ctx, layer, q.Prompts, q.Not)
}

// pngBuffers spares the garbage collector the compressor's tables, which outweigh the tile.
type pngBuffers struct{ pool sync.Pool }

func (b *pngBuffers) Get() *png.EncoderBuffer {
	buffer, _ := b.pool.Get().(*png.EncoderBuffer)
	return buffer
}

func (b *pngBuffers) Put(buffer *png.EncoderBuffer) { b.pool.Put(buffer) }

var pngEncoder = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &pngBuffers{}}

func encodePNG(d drawing, f *field) ([]byte, error) {
	var out bytes.Buffer
	if err := pngEncoder.Encode(&out, d.draw(f)); err != nil {
		return nil, fmt.Errorf("encode the overlay: %w", err)
	}
	return out.Bytes(), nil
}

func (p *Plugin) overlayTileJSON(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	if err := search.Check(q.Prompts, q.Not); err != nil {
		return err
	}
	layer := mux.Vars(r)["layer"]
	info, err := p.engine.LayerInfo(layer)
	if err != nil {
		return err
	}
	base := p.base(r)
	q.carried = p.carry(r)
	b, c := info.Bound, info.Bound.Center()
	return writeJSON(w, r, "application/json", "public, max-age=60", map[string]any{
		"tilejson": "3.0.0", "name": info.Title + ": " + q.title(), "scheme": "xyz",
		"tiles":   []string{p.overlayTemplate(base, layer, "png", q)},
		"bounds":  []float64{round(b.Min[0], 7), round(b.Min[1], 7), round(b.Max[0], 7), round(b.Max[1], 7)},
		"center":  []float64{round(c[0], 7), round(c[1], 7), float64(info.MinZoom+info.MaxZoom) / 2},
		"minzoom": 0, "maxzoom": maxOverlayZoom, "attribution": info.Attribution,
		"vector_layers": []any{}, "query": q.Prompts, "rev": p.engine.Revision(layer), "model": p.engine.Model().ID,
		"vector_tiles": []string{p.overlayTemplate(base, layer, "mvt", q)},
	})
}

func (q Question) title() string {
	s := ""
	for i, p := range q.Prompts {
		if i > 0 {
			s += " or "
		}
		s += p
	}
	for _, n := range q.Not {
		s += ", not " + n
	}
	return s
}

// OverlayTile draws one overlay tile as GET /overlay does, for what is embedded now; q is checked. ErrNotFound: nothing
// beneath reaches the threshold, so the tile would be empty.
func (p *Plugin) OverlayTile(ctx context.Context, layer string, t maptile.Tile, q Question) (tilescout.Picture, error) {
	if err := search.Check(q.Prompts, q.Not); err != nil {
		return tilescout.Picture{}, err
	}
	body, err := p.render(ctx, layer, t, q)
	if err != nil {
		return tilescout.Picture{}, err
	}
	if m, err := png.Decode(bytes.NewReader(body)); err == nil && transparent(m) {
		return tilescout.Picture{}, fmt.Errorf("overlay tile %s shows nothing: %w", tileID(t), tilescout.ErrNotFound)
	}
	return tilescout.Picture{Data: body, MediaType: tilescout.PNG, ETag: etag(body)}, nil
}

func transparent(m image.Image) bool {
	n, ok := m.(*image.NRGBA)
	if !ok {
		return false
	}
	for i := 3; i < len(n.Pix); i += 4 {
		if n.Pix[i] != 0 {
			return false
		}
	}
	return true
}
