package onnxruntime

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxLibrary bounds what is unpacked: the largest library of a release has 45 MB.
const maxLibrary = 256 << 20

// extract takes the one regular file called member out of an archive and puts it into dir as name, with its SHA-256
// beside it. No path of the archive is used: only the member's bytes.
func extract(archive, archiveName, member string, want file, dir, name string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	var content io.Reader
	if strings.HasSuffix(archiveName, ".tgz") {
		content, err = tarMember(f, member)
	} else {
		content, err = zipMember(f, member)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", archiveName, err)
	}
	return place(content, want, dir, name)
}

func tarMember(r io.Reader, member string) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("no %s in it", member)
		}
		if err != nil {
			return nil, err
		}
		// The names without the full version are symbolic links.
		if strings.TrimPrefix(h.Name, "./") == member && h.Typeflag == tar.TypeReg {
			return t, nil
		}
	}
}

func zipMember(f *os.File, member string) (io.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, err
	}
	for _, m := range z.File {
		if m.Name == member && m.Mode().IsRegular() {
			return m.Open()
		}
	}
	return nil, fmt.Errorf("no %s in it", member)
}

// place writes the library under a temporary name, makes it durable and renames it.
func place(content io.Reader, want file, dir, name string) (err error) {
	tmp, err := os.CreateTemp(dir, ".library-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(content, maxLibrary+1))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	if n > maxLibrary || want.size > 0 && n != want.size {
		return fmt.Errorf("unpack %s: %d bytes, want %d", name, n, want.size)
	}
	got := hex.EncodeToString(h.Sum(nil))
	if want.sha256 != "" && got != want.sha256 {
		return errChecksum(name, got, want.sha256)
	}
	if err := tmp.Chmod(0o755); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	target := filepath.Join(dir, name)
	// The hash of an older library must not accuse the new one if we are stopped between the two renames.
	os.Remove(target + ".sha256")
	if err := os.Rename(tmp.Name(), target); err != nil {
		return err
	}
	return writeSum(target, got)
}

func writeSum(target, sum string) error {
	tmp := target + ".sha256.tmp"
	if err := os.WriteFile(tmp, []byte(sum+"  "+filepath.Base(target)+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, target+".sha256")
}
