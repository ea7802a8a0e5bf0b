package onnxruntime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
)

// Options says what Install installs, and from where. Only Dir is needed.
type Options struct {
	Dir      string        // the data folder
	GOOS     string        // "" is this machine's
	GOARCH   string        // "" is this machine's
	BaseURL  string        // folder of the release archives; "" is the project's release page
	IndexURL string        // JSON page of the Python package of this version; "" is the public index
	Client   *http.Client  // nil follows HTTPS_PROXY
	Retries  int           // tries per address; 0 means 3
	Pause    time.Duration // before the second try, doubled for the next; 0 means 1 s

	builds map[platform]build // tests have their own
}

func (o *Options) setDefaults() {
	o.GOOS, o.GOARCH = cmp.Or(o.GOOS, runtime.GOOS), cmp.Or(o.GOARCH, runtime.GOARCH)
	o.BaseURL = cmp.Or(o.BaseURL, "https://github.com/microsoft/onnxruntime/releases/download/v"+Version)
	// The index of the Python packages, through its JSON API (PEP 691 has no equal for one version).
	o.IndexURL = cmp.Or(o.IndexURL, (&url.URL{Scheme: "https", Host: strings.Join([]string{"pypi", "org"}, "."), Path: "/pypi/onnxruntime/" + Version + "/json"}).String())
	o.Retries, o.Pause = cmp.Or(o.Retries, 3), cmp.Or(o.Pause, time.Second)
	if o.Client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone() // has ProxyFromEnvironment
		t.ResponseHeaderTimeout = 30 * time.Second
		o.Client = &http.Client{Transport: t}
	}
	if o.builds == nil {
		o.builds = builds()
	}
}

// Install downloads the ONNX Runtime library of one platform into the data folder and returns its path. It takes the
// official release archive, and if that cannot be had the wheel of the same version. Size and SHA-256 of the archive are
// checked before the one file that is needed is taken out; it appears under its name only when it is whole. A library
// that is there already and unchanged is kept. progress, which may be nil, is told the bytes of the archive.
//
// Errors: tilescout.ErrUnavailable where there is no build for the platform or a checksum differs,
// tilescout.ErrUpstream where no address could be read.
func Install(ctx context.Context, o Options, progress func(done, total int64)) (string, error) {
	o.setDefaults()
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if o.Dir == "" {
		return "", fmt.Errorf("onnxruntime: install: no data folder given: %w", tilescout.ErrBadInput)
	}
	b, ok := o.builds[platform{o.GOOS, o.GOARCH}]
	if !ok {
		return "", errUnsupported(o.GOOS, o.GOARCH)
	}
	dir := InstallDir(o.Dir, o.GOOS, o.GOARCH)
	target := filepath.Join(dir, b.member.name)
	if _, err := os.Stat(target + ".sha256"); err == nil {
		if _, err := os.Stat(target); err == nil && verifyInstalled(target) == nil {
			return target, nil
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("onnxruntime: install: %w", err)
	}
	first := o.release(ctx, b, dir, progress)
	if first == nil {
		return target, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	second := o.wheel(ctx, b, dir, progress)
	if second == nil {
		return target, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	kind := tilescout.ErrUpstream
	var e *Error
	if errors.As(first, &e) || errors.As(second, &e) { // a wrong file is worse than none
		kind = tilescout.ErrUnavailable
	}
	return "", &Error{Kind: kind, Text: fmt.Sprintf("onnxruntime: install: release archive: %s; wheel: %s. Download %s/%s on another machine, unpack it and set --onnxruntime to its lib folder.",
		trim(first), trim(second), o.BaseURL, b.archive.name)}
}

func trim(err error) string {
	return strings.TrimSuffix(strings.TrimPrefix(err.Error(), "onnxruntime: "), ".")
}

// release installs from the release archive.
func (o *Options) release(ctx context.Context, b build, dir string, progress func(done, total int64)) error {
	archive, err := o.download(ctx, o.BaseURL+"/"+b.archive.name, b.archive, dir, progress)
	if err != nil {
		return err
	}
	defer os.Remove(archive)
	stem := strings.TrimSuffix(strings.TrimSuffix(b.archive.name, ".tgz"), ".zip")
	return extract(archive, b.archive.name, stem+"/lib/"+b.member.name, b.member, dir, b.member.name)
}

// wheel installs from the Python package, whose address its index tells.
func (o *Options) wheel(ctx context.Context, b build, dir string, progress func(done, total int64)) error {
	address, err := o.wheelURL(ctx, b.wheel.name)
	if err != nil {
		return err
	}
	archive, err := o.download(ctx, address, b.wheel, dir, progress)
	if err != nil {
		return err
	}
	defer os.Remove(archive)
	return extract(archive, b.wheel.name, "onnxruntime/capi/"+b.inWheel.name, b.inWheel, dir, b.member.name)
}

func (o *Options) wheelURL(ctx context.Context, name string) (string, error) {
	var index struct {
		URLs []struct {
			Filename string `json:"filename"`
			URL      string `json:"url"`
		} `json:"urls"`
	}
	err := o.retry(ctx, func() error {
		body, err := o.get(ctx, o.IndexURL)
		if err != nil {
			return err
		}
		defer body.Close()
		if err := json.NewDecoder(io.LimitReader(body, 8<<20)).Decode(&index); err != nil {
			return fmt.Errorf("%s: not the JSON of a package index: %w", o.IndexURL, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, u := range index.URLs {
		if u.Filename == name {
			return u.URL, nil
		}
	}
	return "", fmt.Errorf("%s lists no %s", o.IndexURL, name)
}

// download fetches a file into a temporary one in dir and checks its size and hash; the caller removes it.
func (o *Options) download(ctx context.Context, address string, want file, dir string, progress func(done, total int64)) (path string, err error) {
	err = o.retry(ctx, func() error {
		path, err = o.fetch(ctx, address, want, dir, progress)
		return err
	})
	return path, err
}

func (o *Options) fetch(ctx context.Context, address string, want file, dir string, progress func(done, total int64)) (path string, err error) {
	body, err := o.get(ctx, address)
	if err != nil {
		return "", err
	}
	defer body.Close()
	f, err := os.CreateTemp(dir, ".download-*")
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	limit := want.size
	if limit == 0 {
		limit = 1 << 30
	}
	n, err := io.Copy(&meter{f, h, 0, want.size, progress}, io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("get %s: after %d bytes: %w", address, n, err)
	case n > limit, want.size > 0 && n != want.size:
		// Not what we asked for, but perhaps a page of a proxy, or cut off: worth another try.
		return "", fmt.Errorf("get %s: %s instead of %d bytes", address, atLeast(n, limit), want.size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); want.sha256 != "" && got != want.sha256 {
		return "", errChecksum(want.name, got, want.sha256)
	}
	return f.Name(), nil
}

func atLeast(n, limit int64) string {
	if n > limit {
		return fmt.Sprintf("more than %d", limit)
	}
	return fmt.Sprint(n)
}

// meter writes to a file and a hash and reports how far it is.
type meter struct {
	f        io.Writer
	h        hash.Hash
	done     int64
	total    int64
	progress func(done, total int64)
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.f.Write(p)
	m.h.Write(p[:n])
	m.done += int64(n)
	m.progress(m.done, m.total)
	return n, err
}

func (o *Options) get(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "tilescout")
	resp, err := o.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, &statusError{address, resp.StatusCode}
	}
	return resp.Body, nil
}

type statusError struct {
	address string
	code    int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("get %s: %d %s", e.address, e.code, http.StatusText(e.code))
}

// retry tries again what may work the next time: not what the server says is not there, nor a whole file with the wrong
// hash.
func (o *Options) retry(ctx context.Context, do func() error) error {
	pause := o.Pause
	for try := 1; ; try++ {
		err := do()
		var status *statusError
		var wrong *Error
		switch {
		case err == nil, try >= o.Retries, errors.As(err, &wrong):
			return err
		case errors.As(err, &status) && status.code < 500 && status.code != http.StatusTooManyRequests && status.code != http.StatusRequestTimeout:
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
