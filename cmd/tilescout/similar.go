package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/plugin/search"
)

func (a *app) similarCommand() *cobra.Command {
	var o answerOptions
	c := &cobra.Command{
		Use:   "similar PICTURE|z/x/y|lon,lat",
		Short: "Find tiles that look like a picture, a tile or a place",
		Example: `  tilescout similar tank.jpg -s ortho.tif
  tilescout similar 17/67890/43210 -s ortho.tif
  tilescout similar 11.57,48.17 -s ortho.tif -o csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.answer(c, o, func(p *parts, layer string) (*search.Answer, error) {
				like, err := likeOf(p, layer, args[0])
				if err != nil {
					return nil, err
				}
				ans, err := p.engine.Similar(c.Context(), layer, like, o.bound, o.limit, o.threshold)
				return &ans, err
			})
		},
	}
	o.flags(a, c)
	return c
}

// likeOf tells a tile, a place and a file apart.
func likeOf(p *parts, layer, s string) (search.Like, error) {
	if t, err := search.ParseTileName(s); err == nil {
		return search.Like{Tile: &t}, nil
	}
	if west, south, ok := strings.Cut(s, ","); ok {
		lon, err1 := strconv.ParseFloat(strings.TrimSpace(west), 64)
		lat, err2 := strconv.ParseFloat(strings.TrimSpace(south), 64)
		if err1 == nil && err2 == nil {
			t, err := p.engine.TileAt(layer, lon, lat)
			return search.Like{Tile: &t}, err
		}
	}
	picture, err := readPicture(s)
	return search.Like{Picture: &picture}, err
}

// maxPicture bounds a picture file, in bytes.
const maxPicture = 32 << 20

func readPicture(name string) (tilescout.Picture, error) {
	f, err := os.Open(name)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("picture: %w: %w", err, tilescout.ErrBadInput)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPicture+1))
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("picture %s: %w: %w", name, err, tilescout.ErrBadInput)
	}
	if len(data) > maxPicture {
		return tilescout.Picture{}, fmt.Errorf("picture %s: larger than %d MiB: %w", name, maxPicture>>20, tilescout.ErrBadInput)
	}
	media := http.DetectContentType(data)
	switch media {
	case tilescout.PNG, tilescout.JPEG, tilescout.WebP:
		return tilescout.Picture{Data: data, MediaType: media}, nil
	}
	return tilescout.Picture{}, fmt.Errorf("picture %s: it is %s, not PNG, JPEG or WebP: %w", name, media, tilescout.ErrBadInput)
}
