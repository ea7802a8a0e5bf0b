package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
)

// MaxDimension is the longest embedding that an index takes.
const MaxDimension = 4096

// Key is what a set of embeddings is of. Two sets that differ in any of it have nothing in common: a new version of a
// layer or another model starts an empty set, and nothing stale is ever served.
type Key struct {
	Layer         string       `json:"layer"`
	Version       string       `json:"version"`       // fingerprint of the layer's content
	Model         string       `json:"model"`         // digest of the model's files
	Preprocessing string       `json:"preprocessing"` // id of the way from picture to model input
	Zoom          maptile.Zoom `json:"zoom"`
	Dimension     int          `json:"dimension"` // values of an embedding
}

func (k Key) check() error {
	switch {
	case k.Layer == "" || k.Model == "":
		return fmt.Errorf("index: a set needs the name of a layer and the digest of a model: %w", tilescout.ErrBadInput)
	case max(len(k.Layer), len(k.Version), len(k.Model), len(k.Preprocessing)) > 4096:
		return fmt.Errorf("index: a name of more than 4096 bytes: %w", tilescout.ErrBadInput)
	case k.Zoom > 30:
		return fmt.Errorf("index: zoom %d, at most 30: %w", k.Zoom, tilescout.ErrOutOfRange)
	case k.Dimension < 1 || k.Dimension > MaxDimension:
		return fmt.Errorf("index: embeddings of %d values, 1 to %d are possible: %w", k.Dimension, MaxDimension, tilescout.ErrBadInput)
	}
	return nil
}

type fingerprint [sha256.Size]byte

// fingerprint is in the header of every file, and its first half is the name of the set's folder.
func (k Key) fingerprint() fingerprint {
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // strings and numbers
	}
	return sha256.Sum256(b)
}

func (f fingerprint) folder() string { return hex.EncodeToString(f[:16]) }

// manifest names the files that are the set; CURRENT names the manifest.
type manifest struct {
	Format   int           `json:"format"` // as formatMajor
	Key      Key           `json:"key"`
	Segments []segmentInfo `json:"segments"` // oldest first: where two hold a code, the later one counts
	WAL      uint64        `json:"wal"`      // the log that holds what is not in segments yet
	Next     uint64        `json:"next"`     // no file has this number or a higher one
	Seq      uint64        `json:"seq"`      // of the last change that is in the segments
}

type segmentInfo struct {
	Number uint64 `json:"number"`
	Rows   uint64 `json:"rows"`
	Blanks uint64 `json:"blanks"`
}

const (
	currentName   = "CURRENT"
	manifestFirst = "tilescout index manifest crc32c="
	maxManifest   = 16 << 20
)

func manifestName(n uint64) string { return fmt.Sprintf("MANIFEST-%d", n) }
func walName(n uint64) string      { return fmt.Sprintf("wal-%d.log", n) }
func segmentName(n uint64, ext string) string {
	return fmt.Sprintf("seg-%d.%s", n, ext)
}

func (m manifest) bytes() []byte {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		panic(err) // strings and numbers
	}
	b = append(b, '\n')
	return append(fmt.Appendf(nil, "%s%08x\n", manifestFirst, crc32.Checksum(b, castagnoli)), b...)
}

func parseManifest(b []byte) (manifest, error) {
	var m manifest
	first, body, ok := bytes.Cut(b, []byte("\n"))
	sum, isOurs := strings.CutPrefix(string(first), manifestFirst)
	if !ok || !isOurs {
		return m, fmt.Errorf("not a manifest of an index: %w", errCorrupt)
	}
	if sum != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) {
		return m, fmt.Errorf("the checksum does not match: %w", errCorrupt)
	}
	// Fields that a later minor format adds are passed over.
	if err := json.Unmarshal(body, &m); err != nil {
		return manifest{}, fmt.Errorf("%v: %w", err, errCorrupt)
	}
	if m.Format != formatMajor {
		return manifest{}, fmt.Errorf("format %d, this program reads %d: %w", m.Format, formatMajor, tilescout.ErrUnavailable)
	}
	if err := m.Key.check(); err != nil {
		return manifest{}, fmt.Errorf("%v: %w", err, errCorrupt)
	}
	seen := map[uint64]bool{m.WAL: true}
	for _, s := range m.Segments {
		if seen[s.Number] || s.Rows > maxRows || s.Blanks > maxRows || s.Number >= m.Next {
			return manifest{}, fmt.Errorf("segment %d makes no sense: %w", s.Number, errCorrupt)
		}
		seen[s.Number] = true
	}
	if m.WAL >= m.Next {
		return manifest{}, fmt.Errorf("log %d makes no sense: %w", m.WAL, errCorrupt)
	}
	return m, nil
}

// readManifest returns the manifest that CURRENT of dir names, and its number; fs.ErrNotExist where there is none.
func readManifest(files fileSystem, dir string) (manifest, uint64, error) {
	b, err := readFile(files, filepath.Join(dir, currentName), 64)
	if err != nil {
		return manifest{}, 0, err
	}
	number, isName := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), "MANIFEST-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !isName || err != nil {
		return manifest{}, 0, fmt.Errorf("%s holds %q: %w", currentName, b, errCorrupt)
	}
	b, err = readFile(files, filepath.Join(dir, manifestName(n)), maxManifest)
	if err != nil {
		return manifest{}, 0, err
	}
	m, err := parseManifest(b)
	if err == nil && n >= m.Next {
		err = fmt.Errorf("number too high: %w", errCorrupt)
	}
	if err != nil {
		return manifest{}, 0, fmt.Errorf("%s: %w", manifestName(n), err)
	}
	return m, n, nil
}

// publish makes m, as manifest number n, what the next opening finds. If attempted is true and err is not nil, it may
// or may not: both states must stay whole until a later publish succeeds.
func publish(files fileSystem, dir string, n uint64, m manifest) (attempted bool, err error) {
	name := filepath.Join(dir, manifestName(n))
	if err := writeFile(files, name, m.bytes()); err != nil {
		return false, errors.Join(err, ignoreAbsent(files.Remove(name)))
	}
	next := filepath.Join(dir, currentName+".new")
	if err := ignoreAbsent(files.Remove(next)); err != nil { // of an attempt that failed
		return false, err
	}
	if err := writeFile(files, next, fmt.Appendf(nil, "%s\n", manifestName(n))); err != nil {
		return false, err
	}
	if err := files.SyncDir(dir); err != nil { // the names of all that the manifest needs
		return false, err
	}
	if err := files.Rename(next, filepath.Join(dir, currentName)); err != nil {
		return true, err
	}
	return true, files.SyncDir(dir)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
