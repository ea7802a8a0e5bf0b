// Package geotiff reads pixels and georeference of GeoTIFF files, Cloud-Optimized ones included, within fixed
// bounds of memory and time whatever the file says of itself. It does no input or output of its own but through
// the io.ReaderAt that it is given.
//
//	f, err := geotiff.Open(file, size, geotiff.Options{})
//	if err != nil {
//		return err
//	}
//	img, err := f.Render(ctx, f.Info().Mercator, 256, 256, geotiff.Bilinear)
//
// Read are classic TIFF and BigTIFF of both byte orders; tiles and strips; compressions none, LZW, Deflate,
// PackBits, JPEG, ZSTD and WebP; predictor 2; pixel- and band-interleaved samples of up to 8 bits as grey,
// palette, RGB, YCbCr (JPEG) and CMYK, with alpha, internal mask or nodata value; overviews in the file.
//
// The header and directories are walked by our own code; of github.com/google/tiff the interfaces, the tag
// names and UnmarshalIFD are used, not its parser, which allocates what a file asks for.
package geotiff
