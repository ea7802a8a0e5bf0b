// Package hub gets models from a Hugging Face hub, or from any server that speaks its API, into a folder of models that
// processes and models share: every file is kept once under its SHA-256, and a model's folder holds links to its files.
//
//	m, err := hub.Get(ctx, "flax-community/clip-rsicd-v2", hub.Options{Dir: models}, nil)
//	c, err := checkpoint.Open(ctx, m.Folder, checkpoint.Options{})
package hub

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tilescout/tilescout"
)

// DefaultEndpoint is the hub that is asked unless Options name another.
const DefaultEndpoint = "https://huggingface.co"

// Options says where models come from and where they go. Only Dir is needed.
type Options struct {
	Dir      string // folder of models
	Endpoint string // "" is DefaultEndpoint
	Token    string // sent to the endpoint's host and to no other; "" for public models
	File     string // weight file to get where a model has several to choose from
	Force    bool   // get files again though they are there
	Client   *http.Client
	Tries    int           // tries of a request without progress between them; 0 means 5
	Pause    time.Duration // before the second try, doubled for each more; 0 means 1 s
	Stall    time.Duration // without a byte, after which a download is tried again; 0 means 1 min
}

func (o *Options) setDefaults() error {
	o.Endpoint = strings.TrimRight(cmp.Or(o.Endpoint, DefaultEndpoint), "/")
	o.Tries, o.Pause, o.Stall = cmp.Or(o.Tries, 5), cmp.Or(o.Pause, time.Second), cmp.Or(o.Stall, time.Minute)
	if o.Dir == "" {
		return fmt.Errorf("no folder of models given: %w", tilescout.ErrBadInput)
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("endpoint is no plain http or https address: %w", tilescout.ErrBadInput)
	}
	if o.Token != "" && u.Scheme != "https" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("endpoint %s would get the token unencrypted; use https, or unset the token: %w", u.Host, tilescout.ErrForbidden)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Model is a model that was got.
type Model struct {
	ID       string    `json:"id"`       // owner/name
	Revision string    `json:"revision"` // as it was asked for: a branch, a tag or a commit
	Commit   string    `json:"commit"`   // what the revision was when it was got
	Endpoint string    `json:"endpoint"`
	Got      time.Time `json:"got"`
	Files    []File    `json:"files"`
	Folder   string    `json:"-"`
}

// Name is the name under which commands know the model: its id, and the revision if that is not the default one.
func (m Model) Name() string {
	if m.Revision == defaultRevision {
		return m.ID
	}
	return m.ID + "@" + m.Revision
}

// Size is the bytes of all files.
func (m Model) Size() int64 {
	n := int64(0)
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// File is one file of a model.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const defaultRevision = "main"

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)
)

// ParseName splits owner/name[@revision]. Anything else is tilescout.ErrBadInput.
func ParseName(name string) (id, revision string, err error) {
	id, revision, given := strings.Cut(name, "@")
	if !given {
		revision = defaultRevision
	}
	if !idPattern.MatchString(id) || strings.Contains(id, "..") {
		return "", "", fmt.Errorf("model %.100q: want owner/name, or owner/name@revision: %w", name, tilescout.ErrBadInput)
	}
	if !revisionPattern.MatchString(revision) || strings.Contains(revision, "..") || strings.Contains(revision, "//") || strings.HasSuffix(revision, "/") {
		return "", "", fmt.Errorf("revision %.100q: want a branch, a tag or a commit: %w", revision, tilescout.ErrBadInput)
	}
	return id, revision, nil
}

// IsName reports whether a setting looks like a name on the hub rather than a folder.
func IsName(s string) bool {
	_, _, err := ParseName(s)
	return err == nil
}

// Folder is where a model of the name is or will be.
func Folder(dir, id, revision string) string {
	name := path.Base(id)
	if revision != defaultRevision {
		name += "@" + strings.ReplaceAll(revision, "/", "%2F")
	}
	return filepath.Join(dir, "hub", path.Dir(id), name)
}

// Progress is told how many bytes of a file are there.
type Progress func(file string, done, total int64)

// Get gets a model: the weights in the form that is best to read, config, vocabulary and preprocessing, nothing else. What
// is there already is not got again, what was begun is gone on with; a file counts only when its checksum is right, and
// the model's folder appears when it is whole. Another process that gets a model is waited for.
//
// Errors: tilescout.ErrNotFound and tilescout.ErrForbidden as the hub says, tilescout.ErrBadInput for a name that cannot be
// one or a model without weights that can be read, tilescout.ErrUpstream for all else that the hub or the way to it does.
func Get(ctx context.Context, name string, o Options, progress Progress) (Model, error) {
	m, err := get(ctx, name, o, progress)
	if err != nil {
		return Model{}, fmt.Errorf("get %.200s: %w", name, err)
	}
	return m, nil
}

func get(ctx context.Context, name string, o Options, progress Progress) (Model, error) {
	id, revision, err := ParseName(name)
	if err != nil {
		return Model{}, err
	}
	if err := o.setDefaults(); err != nil {
		return Model{}, err
	}
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	unlock, err := lock(ctx, o.Dir)
	if err != nil {
		return Model{}, err
	}
	defer unlock()

	g := &getter{o: o, client: newClient(o), progress: progress}
	m := Model{ID: id, Revision: revision, Endpoint: o.Endpoint, Folder: Folder(o.Dir, id, revision)}
	var files []remote
	if m.Commit, files, err = g.list(ctx, id, revision); err != nil {
		return Model{}, err
	}
	if old, err := readModel(m.Folder); err == nil && old.Commit == m.Commit && !o.Force && (o.File == "" || old.has(o.File)) && intact(old) {
		return old, nil
	}
	chosen, err := choose(files, o.File)
	if err != nil {
		return Model{}, err
	}
	for i := 0; i < len(chosen); i++ { // an index adds its shards
		f, err := g.fetch(ctx, id, m.Commit, chosen[i])
		if err != nil {
			return Model{}, err
		}
		m.Files = append(m.Files, f)
		if strings.HasSuffix(f.Path, ".index.json") {
			shards, err := shardsOf(blobPath(o.Dir, f.SHA256), files)
			if err != nil {
				return Model{}, fmt.Errorf("%s: %w", f.Path, err)
			}
			chosen = append(chosen, shards...)
		}
	}
	m.Got = time.Now().UTC().Truncate(time.Second)
	return m, assemble(o.Dir, m)
}

func (m Model) has(file string) bool {
	for _, f := range m.Files {
		if f.Path == file {
			return true
		}
	}
	return false
}
