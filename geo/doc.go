// Package geo is the map arithmetic of Tilescout: tiles of WebMercatorQuad, their Morton codes, boxes and
// covers, the tile matrix set, coordinate reference systems, and outlines of sets of tiles.
//
// A tile's identity is orb's maptile.Tile everywhere: column X eastwards, row Y southwards, zoom Z.
// Longitudes and latitudes are WGS 84 degrees, always in the order lon, lat.
//
//	t, err := geo.ParseTile("14", "8389", "5420")
//	if err != nil {
//		return err
//	}
//	fmt.Println(geo.Bound(t), geo.Morton(t))
package geo
