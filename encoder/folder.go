package encoder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
)

// readGraph reads an ONNX file, compares it with the hash in the manifest and looks it through before ONNX Runtime
// gets to see it.
func readGraph(files fs.FS, name, want string, t tower) ([]byte, error) {
	graph, err := readFile(files, name, maxGraph)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(graph)
	if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, want) {
		return nil, fmt.Errorf("checksum mismatch: got %s, model.json wants %s; the file was changed or cut off, copy the model again: %w", got, want, tilescout.ErrBadInput)
	}
	if err := preflight(graph, t); err != nil {
		return nil, err
	}
	return graph, nil
}

// readWeights compares the file of a graph's large tensors with the hash in the manifest and returns its size.
func readWeights(ctx context.Context, files fs.FS, w WeightsFile) (size int64, sum [sha256.Size]byte, err error) {
	f, err := files.Open(w.File)
	if err != nil {
		return 0, sum, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, sum, err
	}
	if size = info.Size(); !info.Mode().IsRegular() || size > maxWeights {
		return 0, sum, fmt.Errorf("want a regular file of at most %d bytes: %w", int64(maxWeights), tilescout.ErrBadInput)
	}
	h := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return 0, sum, err
		}
		n, err := f.Read(buffer)
		h.Write(buffer[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, sum, err
		}
	}
	h.Sum(sum[:0])
	if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, w.SHA256) {
		return 0, sum, fmt.Errorf("checksum mismatch: got %s, model.json wants %s; the file was changed or cut off, convert or copy the model again: %w", got, w.SHA256, tilescout.ErrBadInput)
	}
	return size, sum, nil
}

// readFile reads a file of at most limit bytes.
func readFile(files fs.FS, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes: %w", name, limit, tilescout.ErrBadInput)
	}
	// One byte more than it has: a file that grows meanwhile is cut, and the checksum tells.
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, info.Size())); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

func decodeStrict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%v: %w", err, tilescout.ErrBadInput)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON object: %w", tilescout.ErrBadInput)
	}
	return nil
}

// digest is the SHA-256 over names and hashes of the files, in the order of their names.
func digest(sums map[string][sha256.Size]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(h, "%s %x\n", name, sums[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// kindOr gives err a kind if it has none.
func kindOr(err, kind error) error {
	for _, k := range []error{tilescout.ErrBadInput, tilescout.ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, k) {
			return err
		}
	}
	return fmt.Errorf("%v: %w", err, kind)
}
