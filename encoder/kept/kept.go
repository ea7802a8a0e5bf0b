// Package kept keeps on disk what a model makes of the prompts that a program asks it at every start, its background
// vocabulary above all: hundreds of prompts, which take a large text tower half a minute.
//
//	texts := kept.Open(enc, filepath.Join(data, "vocabulary"))
//	…                    // what is asked here is looked up, and noted where it is not there
//	err := texts.Save()  // from here on nothing is noted
package kept

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/tilescout/tilescout/encoder"
)

// Encoder is what embeds the prompts.
type Encoder interface {
	Texts(ctx context.Context, prompts []string) ([]encoder.Text, error)
	Model() encoder.Model
}

// Texts answers prompts from a file, and all others by its encoder. Safe for concurrent use.
type Texts struct {
	encoder Encoder
	path    string // "" keeps nothing

	mu      sync.RWMutex
	rows    map[string][]float32 // guarded by mu
	changed bool                 // guarded by mu: the file lacks something
	saved   bool                 // guarded by mu: no more is noted
}

// Bounds of what is kept: a vocabulary has some hundred prompts.
const (
	maxPrompts = 1 << 14
	maxFile    = 256 << 20
)

// magic begins a file; then come the SHA-256 of the rest, numbers of prompts and dimensions, and each prompt's length,
// bytes and values, all little-endian.
const magic = "tilescout texts 1\n"

var errDamaged = errors.New("damaged")

// Open reads the file of the encoder's model in dir, if there is a sound one. Another model has another digest, and so
// another file. A model that knows only its own words is quick, and says more of a prompt than its embedding: nothing of
// it is kept.
func Open(e Encoder, dir string) *Texts {
	t := &Texts{encoder: e, rows: map[string][]float32{}}
	m := e.Model()
	if m.Words != nil || m.Digest == "" {
		return t
	}
	t.path = filepath.Join(dir, m.Digest)
	// Whatever is wrong with the file, what it holds can be computed again.
	if rows, err := read(t.path, m.Dimension); err == nil {
		t.rows = rows
	} else {
		t.changed = true
	}
	return t
}

// Texts returns what the encoder's Texts would.
func (t *Texts) Texts(ctx context.Context, prompts []string) ([]encoder.Text, error) {
	if out, ok := t.look(prompts); ok {
		return out, nil
	}
	out, err := t.encoder.Texts(ctx, prompts)
	if err == nil {
		t.note(prompts, out)
	}
	return out, err
}

func (t *Texts) look(prompts []string) ([]encoder.Text, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.rows) == 0 {
		return nil, false
	}
	out := make([]encoder.Text, len(prompts))
	for i, p := range prompts {
		row, ok := t.rows[p]
		if !ok {
			return nil, false
		}
		out[i].Embedding = append([]float32(nil), row...) // callers own what they get
	}
	return out, true
}

func (t *Texts) note(prompts []string, texts []encoder.Text) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" || t.saved {
		return
	}
	dimension := t.encoder.Model().Dimension
	for i, p := range prompts {
		x := texts[i]
		plain := !x.Truncated && x.Unknown == nil && x.Described == nil && len(x.Embedding) == dimension
		if plain && len(t.rows) < maxPrompts && len(p) <= math.MaxUint16 {
			t.rows[p] = append([]float32(nil), x.Embedding...)
			t.changed = true
		}
	}
}

// Save writes the file, whole or not at all, if anything is new. What is asked later is not noted: people's prompts are
// nobody's vocabulary.
func (t *Texts) Save() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saved = true
	if t.path == "" || !t.changed || len(t.rows) == 0 {
		return nil
	}
	t.changed = false
	dimension := t.encoder.Model().Dimension
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(t.rows)))
	body = binary.LittleEndian.AppendUint32(body, uint32(dimension))
	for p, row := range t.rows {
		body = binary.LittleEndian.AppendUint16(body, uint16(len(p)))
		body = append(body, p...)
		for _, v := range row {
			body = binary.LittleEndian.AppendUint32(body, math.Float32bits(v))
		}
	}
	sum := sha256.Sum256(body)
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return fmt.Errorf("keep the vocabulary's embeddings: %w", err)
	}
	if err := renameio.WriteFile(t.path, append(append([]byte(magic), sum[:]...), body...), 0o644); err != nil {
		return fmt.Errorf("keep the vocabulary's embeddings: %w", err)
	}
	return nil
}

// read returns the prompts of a file with their embeddings of that dimension.
func read(path string, dimension int) (map[string][]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return parse(raw, dimension)
}

func parse(raw []byte, dimension int) (map[string][]float32, error) {
	head := len(magic) + sha256.Size
	if len(raw) < head+8 || !strings.HasPrefix(string(raw[:head]), magic) {
		return nil, errDamaged
	}
	body := raw[head:]
	if sum := sha256.Sum256(body); string(sum[:]) != string(raw[len(magic):head]) {
		return nil, errDamaged
	}
	n := binary.LittleEndian.Uint32(body)
	if n > maxPrompts || binary.LittleEndian.Uint32(body[4:]) != uint32(dimension) {
		return nil, errDamaged
	}
	rows := make(map[string][]float32, n)
	body = body[8:]
	for range n {
		if len(body) < 2 {
			return nil, errDamaged
		}
		length := int(binary.LittleEndian.Uint16(body))
		body = body[2:]
		if len(body) < length+4*dimension {
			return nil, errDamaged
		}
		row := make([]float32, dimension)
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[length+4*i:]))
		}
		rows[string(body[:length])] = row
		body = body[length+4*dimension:]
	}
	if len(body) > 0 {
		return nil, errDamaged
	}
	return rows, nil
}
