package pmtiles

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// metadata is the archive's JSON object; what is in it is read one by one, since a stranger's types may differ.
type metadata map[string]json.RawMessage

// maxText is the length of a text that is shown, in bytes.
const maxText = 8192

// text returns a string; "" where there is none.
func (m metadata) text(key string) string {
	var s string
	if json.Unmarshal(m[key], &s) != nil {
		return ""
	}
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

// metadata reads the metadata; an archive without has none, which is no error.
func (a *archive) metadata(ctx context.Context) (metadata, error) {
	s := a.header.metadata
	if s.length == 0 {
		return nil, nil
	}
	packed := make([]byte, s.length) // openArchive has looked at it
	if err := read(ctx, a.object, packed, s.offset); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	b, err := unpack(packed, a.header.internalCompression, a.header.limits.Metadata, ErrMetadata)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	var m metadata
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("metadata that is no JSON object (%v): %w", err, ErrMetadata)
	}
	return m, nil
}
