// Package wmts serves the layer of a WMTS 1.0.0 that its capabilities document describes, by REST or KVP.
//
//	spec := source.Spec{ID: "ortho", Source: "wmts+https://host/wmts", Layer: "orthophoto", Dimensions: map[string]string{"Time": "2024"}}
//	src, err := wmts.Open(ctx, spec, upstream.Options{})
//	defer src.Close()
//
// A matrix set with the grid of web maps is passed on tile by tile; from any other in a known CRS tiles are drawn.
package wmts

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pyramid"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// settings may stand in the query of the source as well as behind its #.
var settings = []string{"layer", "style", "tilematrixset", "matrixset", "format", "service", "request", "version"}

// Open fetches the capabilities and opens the layer of spec. ErrBadInput: spec or the document is not what it should be;
// a layer, style, matrix set or dimension that is not there is answered with those that are. ErrUpstream: the server
// failed.
func Open(ctx context.Context, spec source.Spec, o upstream.Options) (*pyramid.Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	address, client, err := upstream.Dial(spec, o, settings...)
	if err != nil {
		return nil, err
	}
	document := address.URL.String()
	if !strings.HasSuffix(strings.ToLower(address.URL.Path), ".xml") {
		document = upstream.With(address.URL, "SERVICE", "WMTS", "REQUEST", "GetCapabilities", "VERSION", "1.0.0")
	}
	d, err := client.Document(ctx, document)
	if err != nil {
		return nil, fmt.Errorf("layer %s: WMTS capabilities: %w", spec.ID, err)
	}
	return openDocument(spec, address, d, client)
}

// OpenDocument is Open for capabilities that have been fetched already.
func OpenDocument(spec source.Spec, d upstream.Document, o upstream.Options) (*pyramid.Source, error) {
	address, client, err := upstream.Dial(spec, o, settings...)
	if err != nil {
		return nil, err
	}
	return openDocument(spec, address, d, client)
}

func openDocument(spec source.Spec, address upstream.Address, d upstream.Document, client *upstream.Client) (*pyramid.Source, error) {
	c, err := parse(d.Data, d.Limits)
	if err != nil {
		return nil, fmt.Errorf("layer %s: WMTS capabilities: %w", spec.ID, err)
	}
	l, err := choose(c, spec, address, d.URL, client)
	if err != nil {
		return nil, fmt.Errorf("layer %s: WMTS: %w", spec.ID, err)
	}
	return pyramid.Open(l, client)
}

// choice is what is asked for.
type choice struct {
	layer      *layer
	style      string
	format     string
	link       link
	dimensions [][2]string // identifier and value
}

func choose(c *capabilities, spec source.Spec, address upstream.Address, base *url.URL, client *upstream.Client) (pyramid.Layer, error) {
	var p choice
	var err error
	if p.layer, err = pickLayer(c, cmp.Or(spec.Layer, address.Options["layer"])); err != nil {
		return pyramid.Layer{}, err
	}
	if p.style, err = pickStyle(p.layer, cmp.Or(spec.Style, address.Options["style"])); err != nil {
		return pyramid.Layer{}, err
	}
	if p.dimensions, err = pickDimensions(p.layer, spec.Dimensions, address); err != nil {
		return pyramid.Layer{}, err
	}
	if p.format, err = pickFormat(p.layer, cmp.Or(spec.Format, address.Options["format"])); err != nil {
		return pyramid.Layer{}, err
	}
	set, err := pickSet(c, p.layer, cmp.Or(spec.MatrixSet, address.Options["tilematrixset"], address.Options["matrixset"]))
	if err != nil {
		return pyramid.Layer{}, err
	}
	makers, err := c.makers(p, set, address, base, client)
	if err != nil {
		return pyramid.Layer{}, err
	}
	maker := func(cell pyramid.Cell) string {
		return makers[uint64(cell.Col+cell.Row)%uint64(len(makers))].url(set, cell)
	}
	dims := make([]string, 0, len(p.dimensions))
	for _, d := range p.dimensions {
		dims = append(dims, d[0]+"="+d[1])
	}
	return pyramid.Layer{
		Spec: spec, Set: set, Bounds: p.layer.bounds(), Host: makers[0].host(),
		Info: tilescout.LayerInfo{
			Title:       upstream.Text(cmp.Or(first(p.layer.Title), p.layer.ID), 200),
			Description: upstream.Text(first(p.layer.Abstract), 2000),
			Attribution: source.TextAttribution(upstream.Text(c.Provider, 200)),
			MediaType:   plainType(p.format),
		},
		Identity: strings.Join([]string{"wmts", address.Written, p.layer.ID, p.style, set.ID, p.format, strings.Join(dims, "&")}, "\n"),
		URL:      maker,
		Shown:    func(cell pyramid.Cell) string { return client.Shown(maker(cell)) },
	}, nil
}

// pick returns the index of the entry that is called name: by identifier, whatever its case, or by title.
func pick(name string, ids, titles []string) int {
	if i := slices.Index(ids, name); i >= 0 {
		return i
	}
	for i := range ids {
		if strings.EqualFold(ids[i], name) {
			return i
		}
	}
	return slices.Index(titles, name)
}

func pickLayer(c *capabilities, name string) (*layer, error) {
	var ids, titles []string
	for i := range c.Layers {
		c.Layers[i].ID = strings.TrimSpace(c.Layers[i].ID)
		ids, titles = append(ids, c.Layers[i].ID), append(titles, first(c.Layers[i].Title))
	}
	switch i := pick(name, ids, titles); {
	case i >= 0 && name != "":
		return &c.Layers[i], nil
	case name == "" && len(ids) == 1:
		return &c.Layers[0], nil
	case name == "":
		return nil, fmt.Errorf("there are %d layers, choose one with layer: %s: %w", len(ids), upstream.Choices(ids), tilescout.ErrBadInput)
	}
	return nil, fmt.Errorf("no layer %.60q; there are: %s: %w", name, upstream.Choices(ids), tilescout.ErrBadInput)
}

func pickStyle(l *layer, name string) (string, error) {
	if len(l.Styles) == 0 { // against the standard; others ask for this one then
		return cmp.Or(name, "default"), nil
	}
	var ids, titles []string
	standard := strings.TrimSpace(l.Styles[0].ID)
	for _, s := range l.Styles {
		id := strings.TrimSpace(s.ID)
		ids, titles = append(ids, id), append(titles, first(s.Title))
		if d := strings.TrimSpace(s.Default); d == "true" || d == "1" {
			standard = id
		}
	}
	if name == "" {
		return standard, nil
	}
	if i := pick(name, ids, titles); i >= 0 {
		return ids[i], nil
	}
	return "", fmt.Errorf("layer %s has no style %.60q; there are: %s: %w", upstream.Text(l.ID, 60), name, upstream.Choices(ids), tilescout.ErrBadInput)
}

// pickDimensions returns a value for every dimension of the layer: the one asked for, else its default, else its first.
func pickDimensions(l *layer, wanted map[string]string, address upstream.Address) ([][2]string, error) {
	asked := map[string]string{}
	query := address.URL.Query()
	for name, value := range address.Options {
		if !slices.Contains(settings, name) {
			asked[name] = value
		}
	}
	for name, value := range wanted {
		asked[strings.ToLower(name)] = value
	}
	var out [][2]string
	var ids []string
	for _, d := range l.Dimensions {
		id := strings.TrimSpace(d.ID)
		if id == "" {
			continue
		}
		ids = append(ids, id)
		value, given := asked[strings.ToLower(id)]
		delete(asked, strings.ToLower(id))
		if !given {
			for name := range query { // ?time=2024 in the source
				if strings.EqualFold(name, id) {
					value, given = query.Get(name), true
				}
			}
		}
		if given {
			if err := d.allows(value); err != nil {
				return nil, err
			}
		} else {
			value = cmp.Or(strings.TrimSpace(d.Default), first(d.Values))
		}
		out = append(out, [2]string{id, value})
	}
	for name := range asked {
		return nil, fmt.Errorf("layer %s has no dimension %.60q; there are: %s: %w", upstream.Text(l.ID, 60), name, upstream.Choices(ids), tilescout.ErrBadInput)
	}
	return out, nil
}

// allows tells whether a dimension has a value. A list may hold ranges (2012-05-08/2020-01-01/P1D), and servers take
// more words than they list: then the server decides.
func (d dimension) allows(value string) error {
	open := len(d.Values) == 0 || strings.EqualFold(value, "default") || strings.EqualFold(value, "current")
	var values []string
	for _, v := range d.Values {
		v = strings.TrimSpace(v)
		values = append(values, v)
		open = open || v == value || strings.Contains(v, "/") || strings.EqualFold(v, "current")
	}
	if open {
		return nil
	}
	return fmt.Errorf("dimension %s has no value %.60q; there are: %s: %w", upstream.Text(d.ID, 60), value, upstream.Choices(values), tilescout.ErrBadInput)
}

// plainType is the media type of what comes for a format, "" where that may be one or the other.
func plainType(format string) string {
	f := strings.ToLower(format)
	switch {
	case strings.Contains(f, "jp") && strings.Contains(f, "png"):
		return ""
	case strings.HasPrefix(f, "image/png"):
		return tilescout.PNG
	case strings.HasPrefix(f, "image/jpeg"), strings.HasPrefix(f, "image/jpg"):
		return tilescout.JPEG
	case strings.HasPrefix(f, "image/webp"):
		return tilescout.WebP
	}
	return ""
}

// readable tells whether tiles of a format can be pictures to us.
func readable(format string) bool {
	f := strings.ToLower(format)
	return plainType(f) != "" || strings.HasPrefix(f, "image/") && strings.Contains(f, "jp") && strings.Contains(f, "png")
}

// pickFormat returns the format asked for (png, or its media type), else the first that we can read: servers list the
// one they hold first.
func pickFormat(l *layer, name string) (string, error) {
	var formats []string
	for _, f := range l.Formats {
		if f = strings.TrimSpace(f); f != "" && !slices.Contains(formats, f) {
			formats = append(formats, f)
		}
	}
	for _, r := range l.Resources {
		if f := strings.TrimSpace(r.Format); isTile(r) && f != "" && !slices.Contains(formats, f) {
			formats = append(formats, f)
		}
	}
	for _, f := range formats {
		if name == "" && readable(f) || strings.EqualFold(f, name) || strings.EqualFold(f, "image/"+name) || strings.EqualFold(name, "jpg") && plainType(f) == tilescout.JPEG {
			return f, nil
		}
	}
	if len(formats) == 0 {
		return cmp.Or(name, "image/png"), nil
	}
	if name == "" {
		return "", fmt.Errorf("layer %s comes in no format that is read (png, jpeg, webp), but in: %s: %w", upstream.Text(l.ID, 60), upstream.Choices(formats), tilescout.ErrBadInput)
	}
	return "", fmt.Errorf("layer %s has no format %.60q; there are: %s: %w", upstream.Text(l.ID, 60), name, upstream.Choices(formats), tilescout.ErrBadInput)
}
