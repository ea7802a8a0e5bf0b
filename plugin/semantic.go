package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/problem"
	"github.com/tilescout/tilescout/plugin/search"
)

// maxUpload bounds a picture that is sent in, in bytes.
const maxUpload = 8 << 20

func (p *Plugin) similar(w http.ResponseWriter, r *http.Request) error {
	v, err := parameters(r)
	if err != nil {
		return err
	}
	layer := mux.Vars(r)["layer"]
	var like search.Like
	switch tile, point := v.Get("tile"), v.Get("point"); {
	case tile != "" && point != "":
		return fmt.Errorf("give a tile or a point, not both: %w", tilescout.ErrBadInput)
	case tile != "":
		t, err := search.ParseTileName(tile)
		if err != nil {
			return err
		}
		like.Tile = &t
	case point != "":
		lon, lat, err := parsePoint(point)
		if err != nil {
			return err
		}
		t, err := p.engine.TileAt(layer, lon, lat)
		if err != nil {
			return err
		}
		like.Tile = &t
	default:
		return fmt.Errorf("give tile=z/x/y or point=lon,lat, or POST a picture: %w", tilescout.ErrBadInput)
	}
	return p.writeSimilar(w, r, layer, like)
}

func (p *Plugin) similarPicture(w http.ResponseWriter, r *http.Request) error {
	picture, err := readPicture(w, r)
	if err != nil {
		return err
	}
	return p.writeSimilar(w, r, mux.Vars(r)["layer"], search.Like{Picture: &picture})
}

func (p *Plugin) writeSimilar(w http.ResponseWriter, r *http.Request, layer string, like search.Like) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	a, err := p.engine.Similar(r.Context(), layer, like, q.Box, q.Limit, q.Threshold)
	if err != nil {
		return err
	}
	fc := p.Matches(layer, a.Matches, q.Geometry == "point")
	p.describe(fc, layer, q, a)
	cache := "no-cache"
	if r.Method == http.MethodPost {
		cache = "no-store"
	}
	return writeJSON(w, r, GeoJSON, cache, fc)
}

func parsePoint(s string) (lon, lat float64, err error) {
	a, b, ok := strings.Cut(s, ",")
	lon, err1 := strconv.ParseFloat(strings.TrimSpace(a), 64)
	lat, err2 := strconv.ParseFloat(strings.TrimSpace(b), 64)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("point %q: want lon,lat in degrees: %w", s, tilescout.ErrBadInput)
	}
	return lon, lat, nil
}

// readPicture takes a picture from a request's body; what it really is, is decided by its bytes.
func readPicture(w http.ResponseWriter, r *http.Request) (tilescout.Picture, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return tilescout.Picture{}, err
		}
		return tilescout.Picture{}, fmt.Errorf("read the picture: %s: %w", err, tilescout.ErrBadInput)
	}
	media := http.DetectContentType(data)
	switch media {
	case tilescout.PNG, tilescout.JPEG, tilescout.WebP:
		return tilescout.Picture{Data: data, MediaType: media}, nil
	}
	if len(data) == 0 {
		return tilescout.Picture{}, fmt.Errorf("the body is empty: send a PNG, JPEG or WebP picture: %w", tilescout.ErrBadInput)
	}
	return tilescout.Picture{}, problem.WithStatus(http.StatusUnsupportedMediaType,
		fmt.Errorf("the body is %s: send a PNG, JPEG or WebP picture: %w", media, tilescout.ErrBadInput))
}

func (p *Plugin) classifyTile(w http.ResponseWriter, r *http.Request) error {
	t, err := pathTile(r)
	if err != nil {
		return err
	}
	labels, template, err := labelParameters(r)
	if err != nil {
		return err
	}
	out, err := p.engine.ClassifyTile(r.Context(), mux.Vars(r)["layer"], t, labels, template)
	if err != nil {
		return err
	}
	return writeJSON(w, r, "application/json", "no-cache", map[string]any{"tile": tileID(t), "labels": labelsJSON(out), "model": p.engine.Model().ID})
}

func (p *Plugin) classifyPicture(w http.ResponseWriter, r *http.Request) error {
	labels, template, err := labelParameters(r)
	if err != nil {
		return err
	}
	picture, err := readPicture(w, r)
	if err != nil {
		return err
	}
	out, err := p.engine.ClassifyPicture(r.Context(), picture, labels, template)
	if err != nil {
		return err
	}
	return writeJSON(w, r, "application/json", "no-store", map[string]any{"labels": labelsJSON(out), "model": p.engine.Model().ID})
}

// labelParameters reads labels=a,b,c (repeatable) and template.
func labelParameters(r *http.Request) (labels []string, template string, err error) {
	v, err := parameters(r)
	if err != nil {
		return nil, "", err
	}
	for _, list := range v["labels"] {
		for label := range strings.SplitSeq(list, ",") {
			if label = strings.TrimSpace(label); label != "" {
				labels = append(labels, label)
			}
		}
	}
	return labels, v.Get("template"), nil
}

func labelsJSON(labels []search.LabelProbability) []search.LabelProbability {
	out := make([]search.LabelProbability, len(labels))
	for i, l := range labels {
		l.Probability = round(l.Probability, 5)
		out[i] = l
	}
	return out
}

func (p *Plugin) indexState(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	state, err := p.engine.State(mux.Vars(r)["layer"], q.Box)
	if err != nil {
		return err
	}
	return writeJSON(w, r, "application/json", "no-cache", state)
}

// maxFill bounds the tiles that a request may have embedded; more is the index command's work.
const maxFill = 20_000

// indexFill starts embedding a box in the background: one job per layer, a new one replaces the last.
func (p *Plugin) indexFill(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r)
	if err != nil {
		return err
	}
	layer := mux.Vars(r)["layer"]
	state, err := p.engine.State(layer, q.Box)
	if err != nil {
		return err
	}
	if q.Box == nil {
		return fmt.Errorf("give bbox=west,south,east,north: %w", tilescout.ErrBadInput)
	}
	if state.View.Total > maxFill {
		return fmt.Errorf("the box holds %d tiles, at most %d may be filled from here: zoom in, or run tilescout index: %w", state.View.Total, maxFill, tilescout.ErrBadInput)
	}
	if err := p.engine.MayIndex(layer); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(p.life)
	p.mu.Lock()
	if stop := p.jobs[layer]; stop != nil {
		stop()
	}
	p.jobs[layer] = cancel
	p.mu.Unlock()
	go func() {
		defer cancel()
		// What failed shows in the state that the page polls; the engine's log has the reasons.
		_, _ = p.engine.Index(ctx, layer, search.IndexOptions{Box: q.Box})
	}()
	w.Header().Set("Cache-Control", "no-store")
	open(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, err = fmt.Fprintf(w, "{\"state\":\"building\",\"tiles\":%d}\n", state.View.Total-state.View.Embedded)
	return err
}

func (p *Plugin) suggest(w http.ResponseWriter, r *http.Request) error {
	v, err := parameters(r)
	if err != nil {
		return err
	}
	typed := v.Get("q")
	if len(typed) > 512 {
		return fmt.Errorf("q has %d bytes, at most 512: %w", len(typed), tilescout.ErrBadInput)
	}
	limit, err := number(v, "limit", 8, 1, 50)
	if err != nil {
		return err
	}
	out := []search.Suggestion{}
	for _, s := range p.searches {
		if typed != "" && strings.Contains(strings.ToLower(s.Title+" "+strings.Join(s.Prompts, " ")), strings.ToLower(typed)) {
			out = append(out, search.Suggestion{Phrase: strings.Join(s.Prompts, " OR "), Kind: "saved", Known: true})
		}
	}
	out = append(out, p.engine.Suggest(r.Context(), v.Get("layer"), typed, int(limit))...)
	return writeJSON(w, r, "application/json", "no-cache", map[string]any{"suggestions": out})
}

func (p *Plugin) model(w http.ResponseWriter, r *http.Request) error {
	m := p.engine.Model()
	concepts := make([]string, len(m.Concepts))
	for i, c := range m.Concepts {
		concepts[i] = c.Phrase
	}
	return writeJSON(w, r, "application/json", "public, max-age=60", map[string]any{
		"id": m.ID, "title": m.Title, "digest": m.Digest, "licence": m.Licence,
		"inputSize": m.InputSize, "dimension": m.Dimension, "logitScale": m.LogitScale,
		"concepts": concepts, "words": len(m.Words), "provider": m.Provider, "runtime": m.Runtime,
		"thresholds": p.engine.Calibration(),
	})
}
