// Package xyz fetches tiles from an upstream that answers a URL template: XYZ, TMS or quadkey.
//
//	src, err := xyz.Open(ctx, source.Spec{ID: "city", Source: "https://tiles.example/{z}/{x}/{y}.jpg"}, xyz.Options{})
//	defer src.Close()
//	pic, err := src.Tile(ctx, maptile.New(1, 0, 1))
//
// What it asks and keeps, and what it must not ask, is up to package upstream.
package xyz

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// Options of a source; the zero value works, without a disk cache. Sources of one program share Hosts and Cache.
type Options = upstream.Options

// NewHosts returns what Options.Hosts shares.
func NewHosts() *upstream.Hosts { return upstream.NewHosts() }

// Source is one upstream. Safe for concurrent use.
type Source struct {
	spec      source.Spec
	info      tilescout.LayerInfo
	bounds    []orb.Bound // none: everywhere
	templates []*Template // a tile always comes from the same one
	fetcher   *upstream.Fetcher
}

var (
	_ source.Source      = (*Source)(nil)
	_ source.BulkLimited = (*Source)(nil)
)

// Open checks spec and returns its source; it sends nothing. What is wrong with spec is ErrBadInput.
func Open(ctx context.Context, spec source.Spec, o Options) (*Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.TileSize == 0 && strings.Contains(spec.Source, "@2x") {
		spec.TileSize = 512
	}
	template, err := ParseTemplate(spec, o.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	client, err := upstream.NewClient(spec, template.Hosts(), o)
	if err != nil {
		return nil, err
	}
	client.Hide(template.secrets...)
	return New(ctx, spec, []*Template{template}, client)
}

// New returns the source of templates that hold the same tiles, asked through client. It is for documents that name
// their templates: the hosts of those are not the operator's.
func New(_ context.Context, spec source.Spec, templates []*Template, client *upstream.Client) (*Source, error) {
	if len(templates) == 0 {
		return nil, fmt.Errorf("layer %s: no URL template: %w", spec.ID, tilescout.ErrBadInput)
	}
	s := &Source{spec: spec, templates: templates, bounds: spec.BoundList()}
	s.describe()
	var err error
	if s.fetcher, err = client.NewFetcher(spec, s.host(), s.info.Version); err != nil {
		return nil, err
	}
	return s, nil
}

// host names the upstream.
func (s *Source) host() string { return s.templates[0].Host() }

func (s *Source) describe() {
	s.info = s.spec.Info()
	s.info.Title = cmp.Or(s.info.Title, strings.TrimPrefix(upstream.HostName(s.host()), "*."))
	if upstream.IsOSM(s.host()) {
		s.info.Attribution = cmp.Or(s.info.Attribution, `<a href="https://www.openstreetmap.org/copyright" rel="noopener nofollow">© OpenStreetMap contributors</a>`)
	}
	s.info.MaxZoom = cmp.Or(s.info.MaxZoom, 19)
	s.info.TileSize = cmp.Or(s.info.TileSize, 256)
	if len(s.bounds) == 0 {
		s.info.Bound = source.World
	}
	file, _, _ := strings.Cut(s.templates[0].text, "?")
	switch strings.ToLower(path.Ext(file)) {
	case ".png":
		s.info.MediaType = tilescout.PNG
	case ".jpg", ".jpeg":
		s.info.MediaType = tilescout.JPEG
	case ".webp":
		s.info.MediaType = tilescout.WebP
	}
	var identities strings.Builder
	for _, t := range s.templates {
		identities.WriteString(t.identity + " ")
	}
	h := sha256.Sum256([]byte("xyz " + identities.String() + s.spec.Version))
	s.info.Version = hex.EncodeToString(h[:16])
}

// Info describes the layer. MediaType is what the template's extension promises.
func (s *Source) Info() tilescout.LayerInfo { return s.info }

// Stats counts since Open: requests sent, and tiles answered from an expired entry because the upstream failed.
func (s *Source) Stats() (requests, stale int64) { return s.fetcher.Stats() }

// Close ends what is being fetched and returns when it has ended.
func (s *Source) Close() error { return s.fetcher.Close() }

// Tile returns the picture of t, from the disk cache while it is fresh. Equal tiles at the same time are fetched once;
// a caller who leaves fails nobody else, and the fetch ends when the last has left.
func (s *Source) Tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	pic, err := s.tile(ctx, t)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("xyz: layer %s, tile %d/%d/%d: %w", s.info.ID, t.Z, t.X, t.Y, err)
	}
	return pic, nil
}

func (s *Source) tile(ctx context.Context, t maptile.Tile) (tilescout.Picture, error) {
	if err := s.fetcher.Admits(ctx, t, s.info, s.bounds); err != nil {
		return tilescout.Picture{}, err
	}
	template := s.templates[(uint64(t.X)+uint64(t.Y))%uint64(len(s.templates))]
	return s.fetcher.Picture(ctx, upstream.Request{
		Key:   fmt.Sprintf("%d/%d/%d", t.Z, t.X, t.Y),
		URL:   func() string { return template.URL(t) },
		Shown: func() string { return template.Shown(t) },
	})
}

// Bulk tells whether a whole area may be fetched: on our own network always, elsewhere where the operator says that
// the terms allow it.
func (s *Source) Bulk() error { return upstream.Bulk(s.spec, s.host()) }
