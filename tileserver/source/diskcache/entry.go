package diskcache

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Entry is one answer of an upstream, with what is needed to use it again later.
type Entry struct {
	MediaType    string    `json:"mediaType"`
	ETag         string    `json:"etag,omitempty"`         // as the upstream wrote it, quotes and W/ included
	LastModified string    `json:"lastModified,omitempty"` // as the upstream wrote it
	Stored       time.Time `json:"stored"`                 // when it was fetched or last found unchanged
	Expires      time.Time `json:"expires"`                // until then it is used without asking
	Stated       bool      `json:"stated,omitempty"`       // the upstream itself set Expires
	NoStale      bool      `json:"noStale,omitempty"`      // must not be used after Expires, even if the upstream fails
	Data         []byte    `json:"-"`
}

// A file is: magic, length of the meta data, length of the data (little endian), meta data (JSON), data, and the
// xxHash64 of everything before. The key is in the meta data, so that two keys of one file name cannot be confused.
const (
	magic      = "TSC1"
	headerSize = len(magic) + 4 + 4
	sumSize    = 8
	maxMeta    = 16 << 10 // bytes
	maxData    = 32 << 20 // bytes
)

type meta struct {
	Key string `json:"key"`
	Entry
}

var errDamaged = errors.New("damaged cache entry")

// encode returns the file of e.
func encode(key string, e Entry) ([]byte, error) {
	m, err := json.Marshal(meta{Key: key, Entry: e})
	if err != nil {
		return nil, err
	}
	if len(m) > maxMeta || len(e.Data) > maxData {
		return nil, fmt.Errorf("entry of %d + %d bytes is too large to keep", len(m), len(e.Data))
	}
	file := make([]byte, 0, headerSize+len(m)+len(e.Data)+sumSize)
	file = append(file, magic...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(m)))
	file = binary.LittleEndian.AppendUint32(file, uint32(len(e.Data)))
	file = append(file, m...)
	file = append(file, e.Data...)
	return binary.LittleEndian.AppendUint64(file, xxhash.Sum64(file)), nil
}

// decode reads a file back; whatever is wrong with it, the error is errDamaged. Data is a part of file.
func decode(key string, file []byte) (Entry, error) {
	if len(file) < headerSize+sumSize || string(file[:len(magic)]) != magic {
		return Entry{}, errDamaged
	}
	metaLen := uint64(binary.LittleEndian.Uint32(file[len(magic):]))
	dataLen := uint64(binary.LittleEndian.Uint32(file[len(magic)+4:]))
	if uint64(headerSize)+metaLen+dataLen+sumSize != uint64(len(file)) {
		return Entry{}, errDamaged
	}
	end := len(file) - sumSize
	if xxhash.Sum64(file[:end]) != binary.LittleEndian.Uint64(file[end:]) {
		return Entry{}, errDamaged
	}
	var m meta
	if err := json.Unmarshal(file[headerSize:uint64(headerSize)+metaLen], &m); err != nil || m.Key != key {
		return Entry{}, errDamaged
	}
	m.Data = file[uint64(headerSize)+metaLen : end : end]
	return m.Entry, nil
}
