package geotiff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo/geotiff"
)

// Object is a file that is not on this machine (remote.File). All methods are safe for concurrent use.
type Object interface {
	io.ReaderAt
	ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
	Size() int64
	Version() string     // differs between contents, as far as can be told from outside
	Modified() time.Time // zero if unknown
	Close() error
}

// raster is an open GeoTIFF with the files beside it.
type raster struct {
	file     *geotiff.File
	closers  []io.Closer
	modified time.Time
	sum      uint64      // fingerprint of the content
	changed  func() bool // tells that the file was replaced; nil if that does not show
}

func (r *raster) Close() error {
	var err error
	for _, c := range r.closers {
		err = errors.Join(err, c.Close())
	}
	r.closers = nil
	return err
}

// openRaster opens the file at path, with its overviews (.ovr) and mask (.msk) if there are such.
func openRaster(path string, o geotiff.Options) (*raster, error) {
	r, sum := &raster{}, xxhash.New()
	err := func() error {
		main, size, err := r.openFile(path, sum)
		if err != nil {
			return err
		}
		if o.Overviews, err = r.sidecar(path+".ovr", sum); err != nil {
			return err
		}
		if o.Mask, err = r.sidecar(path+".msk", sum); err != nil {
			return err
		}
		r.sum = sum.Sum64()
		o.Name = fmt.Sprintf("%s %x %v %v %v", path, r.sum, o.Bands, o.Stretch, o.Wide)
		return r.parse(main, size, o)
	}()
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openObject opens a file that lies elsewhere. It is asked for no files beside it.
func openObject(object Object, o geotiff.Options) (*raster, error) {
	r, sum := &raster{modified: object.Modified()}, xxhash.New()
	fmt.Fprint(sum, object.Version())
	head := make([]byte, min(64<<10, object.Size()))
	if n, err := object.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("read: %w", err)
	}
	sum.Write(head)
	r.sum = sum.Sum64()
	if err := r.parse(object, object.Size(), o); err != nil {
		return nil, err
	}
	r.closers = append(r.closers, object)
	if c, ok := object.(interface{ Changed() bool }); ok {
		r.changed = c.Changed
	}
	return r, nil
}

func (r *raster) parse(reader io.ReaderAt, size int64, o geotiff.Options) (err error) {
	if r.file, err = geotiff.Open(reader, size, o); err != nil {
		return err
	}
	return r.file.Georeference()
}

// sidecar opens the file at path, if there is one.
func (r *raster) sidecar(path string, sum io.Writer) (*geotiff.Sidecar, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	f, size, err := r.openFile(path, sum)
	if err != nil {
		return nil, fmt.Errorf("%s beside it: %w", filepath.Base(path), err)
	}
	return &geotiff.Sidecar{Reader: f, Size: size}, nil
}

// openFile opens a regular file and adds its size, time and first bytes to the fingerprint.
func (r *raster) openFile(path string, sum io.Writer) (*os.File, int64, error) {
	// A pipe or device would block or never end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", pathError(err), tilescout.ErrBadInput)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("not a regular file: %w", tilescout.ErrBadInput)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", pathError(err), tilescout.ErrBadInput)
	}
	r.closers = append(r.closers, f)
	if r.modified.Before(info.ModTime()) {
		r.modified = info.ModTime()
	}
	fmt.Fprintf(sum, "%d %d;", info.Size(), info.ModTime().UnixNano())
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 64<<10)); err != nil {
		return nil, 0, fmt.Errorf("read: %w", pathError(err))
	}
	return f, info.Size(), nil
}

// pathError drops the operation and the path, which the caller says already.
func pathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
