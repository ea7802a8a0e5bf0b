package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tilescout/tilescout"
)

var errRange = errors.New("range not satisfiable")

// fetch returns a file that is whole in the store, from there or from the hub.
func (g *getter) fetch(ctx context.Context, id, commit string, r remote) (File, error) {
	if blob := blobPath(g.o.Dir, r.sha256); r.sha256 != "" && !g.o.Force {
		if info, err := os.Stat(blob); err == nil && info.Size() == r.size {
			g.progress(r.path, r.size, r.size)
			return File{Path: r.path, Size: r.size, SHA256: r.sha256}, nil
		}
	}
	part := partPath(g.o.Dir, id, commit, r.path)
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		return File{}, explainDisk(err, r)
	}
	address := g.o.Endpoint + "/" + id + "/resolve/" + commit + "/" + (&url.URL{Path: r.path}).EscapedPath()
	for try := 0; ; try++ {
		f, err := g.download(ctx, address, part, &r)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, errChecksum) || try == 1 {
			return File{}, fmt.Errorf("%s: %w", r.path, err)
		}
	}
}

// partPath is where a file grows until it is whole.
func partPath(dir, id, commit, path string) string {
	key := sha256.Sum256([]byte(id + "@" + commit + "/" + path))
	return filepath.Join(dir, "blobs", hex.EncodeToString(key[:12])+".part")
}

var errChecksum = fmt.Errorf("its checksum is wrong; get it again, or try another --endpoint: %w", tilescout.ErrUpstream)

// download gets the rest of a part file and moves it to its place when its checksum is right.
func (g *getter) download(ctx context.Context, address, part string, r *remote) (File, error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return File{}, explainDisk(err, *r)
	}
	defer f.Close()
	sum := sha256.New()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	at, err := io.CopyN(sum, f, info.Size()) // what is there from an earlier run
	if err != nil {
		return File{}, err
	}
	w := &growing{f: f, sum: sum, at: at}
	if r.size >= 0 && at > r.size {
		if err := w.restart(); err != nil {
			return File{}, err
		}
	}
	if r.size < 0 || w.at < r.size {
		if err := g.again(ctx, func() (bool, error) {
			before := w.at
			err := g.rest(ctx, address, w, r)
			return w.at > before, err
		}); err != nil {
			return File{}, explainDisk(err, *r)
		}
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if ok, err := right(f, *r, digest, w.at); err != nil || !ok {
		_ = f.Close()
		_ = os.Remove(part)
		return File{}, errors.Join(err, errChecksum)
	}
	if err := f.Sync(); err != nil {
		return File{}, explainDisk(err, *r)
	}
	if err := f.Close(); err != nil {
		return File{}, explainDisk(err, *r)
	}
	blob := blobPath(g.o.Dir, digest)
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return File{}, explainDisk(err, *r)
	}
	if err := os.Chmod(part, 0o444); err != nil { // links of several models lead to it
		return File{}, err
	}
	if err := os.Rename(part, blob); err != nil {
		return File{}, err
	}
	return File{Path: r.path, Size: w.at, SHA256: digest}, nil
}

// growing is a file that grows, with the checksum of what is in it.
type growing struct {
	f   *os.File
	sum hash.Hash
	at  int64
}

func (p *growing) Write(b []byte) (int, error) {
	n, err := p.f.WriteAt(b, p.at)
	p.sum.Write(b[:n])
	p.at += int64(n)
	return n, err
}

func (p *growing) restart() error {
	p.at = 0
	p.sum.Reset()
	return p.f.Truncate(0)
}

// rest asks for what is missing of a file and appends it.
func (g *getter) rest(ctx context.Context, address string, w *growing, r *remote) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(g.o.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	header := http.Header{"Accept-Encoding": {"identity"}}
	if w.at > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(w.at, 10)+"-")
	}
	a, err := g.request(ctx, address, header)
	if errors.Is(err, errRange) { // the file is not the one that was begun
		return errors.Join(w.restart(), fmt.Errorf("range refused: %w", tilescout.ErrUpstream))
	}
	if err != nil {
		return stalled(ctx, err)
	}
	defer a.Body.Close()
	if isPage(a) {
		return refused{errPage(a)}
	}
	total, err := begin(a, w)
	if err != nil {
		return err
	}
	if err := learn(a, r, total); err != nil {
		return err
	}
	_, err = io.Copy(w, &watched{r: io.LimitReader(a.Body, r.size-w.at+1), tick: func() {
		stall.Reset(g.o.Stall)
		g.progress(r.path, w.at, r.size)
	}})
	g.progress(r.path, w.at, r.size)
	if err != nil {
		return stalled(ctx, err)
	}
	if w.at < r.size {
		return fmt.Errorf("the connection ended after %d of %d bytes: %w", w.at, r.size, tilescout.ErrUpstream)
	}
	return nil
}

var errStalled = fmt.Errorf("no data for too long: %w", tilescout.ErrUpstream)

func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return errStalled
	}
	if isDisk(err) || errors.Is(err, tilescout.ErrUpstream) || ctx.Err() != nil || errors.As(err, new(refused)) {
		return err
	}
	return fmt.Errorf("%v: %w", err, tilescout.ErrUpstream)
}

// begin reads where the answer starts and how long the file is; -1 if it does not say.
func begin(a *http.Response, w *growing) (int64, error) {
	if a.StatusCode == http.StatusOK {
		if w.at > 0 { // no ranges there
			if err := w.restart(); err != nil {
				return 0, err
			}
		}
		return a.ContentLength, nil
	}
	var from, to, total int64
	if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err != nil || from != w.at {
		return 0, errors.Join(w.restart(), fmt.Errorf("asked from byte %d, got %.60q: %w", w.at, a.Header.Get("Content-Range"), tilescout.ErrUpstream))
	}
	return total, nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// learn takes size and checksum from the headers where the list had none, and refuses those that contradict it.
func learn(a *http.Response, r *remote, total int64) error {
	etag, linked := "", int64(-1)
	for hop := a; hop != nil && hop.Request != nil; hop = hop.Request.Response { // the hub's own answer is the first redirect
		for _, name := range []string{"ETag", "X-Linked-Etag"} {
			if v := strings.Trim(strings.TrimPrefix(hop.Header.Get(name), "W/"), `"`); hexSum.MatchString(v) {
				etag = v
			}
		}
		if n, err := strconv.ParseInt(hop.Header.Get("X-Linked-Size"), 10, 64); err == nil {
			linked = n
		}
	}
	if r.size < 0 {
		r.size = total
		if linked >= 0 {
			r.size = linked
		}
		if r.size < 0 || r.size > maxFileSize {
			return refused{fmt.Errorf("the hub does not say how long the file is: %w", tilescout.ErrUpstream)}
		}
		switch len(etag) {
		case 64:
			r.sha256 = etag
		case 40:
			r.gitSHA = etag
		}
	}
	if total >= 0 && total != r.size || r.size > maxFileSize {
		return refused{fmt.Errorf("%d bytes where the hub listed %d: %w", total, r.size, tilescout.ErrUpstream)}
	}
	if r.sha256 != "" && len(etag) == 64 && etag != r.sha256 {
		return refused{errChecksum}
	}
	return nil
}

// right checks size and whichever checksum the hub states.
func right(f *os.File, r remote, digest string, size int64) (bool, error) {
	if size != r.size {
		return false, nil
	}
	if r.sha256 != "" {
		return digest == r.sha256, nil
	}
	if len(r.gitSHA) != 2*sha1.Size {
		return true, nil
	}
	sum := sha1.New() // what git calls a file by, here no more than a checksum
	fmt.Fprintf(sum, "blob %d\x00", size)
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == r.gitSHA, nil
}

// watched calls tick for what is read.
type watched struct {
	r    io.Reader
	tick func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.tick()
	}
	return n, err
}

func isDisk(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func explainDisk(err error, r remote) error {
	if isDisk(err) {
		return fmt.Errorf("disk full, the file has %d MB; make room and say it again, what came is kept: %w", r.size>>20, err)
	}
	return err
}
