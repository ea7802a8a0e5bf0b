package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tilescout/tilescout/encoder/bundled"
)

// otherModel is the bundled model under another name: another digest, the same answers.
func otherModel(t testing.TB, id string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	if err := os.CopyFS(dir, bundled.FS()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "model.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]json.RawMessage
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	manifest["id"], _ = json.Marshal(id) // a string
	if data, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// greyMosaic has side × side tiles.
func greyMosaic(t testing.TB, side int) string {
	t.Helper()
	m := mosaic{side: side}
	for i := range side * side {
		m.scenes = append(m.scenes, scene{"", plain(uint8(i))})
	}
	path := filepath.Join(t.TempDir(), "grey.mbtiles")
	m.write(t, path)
	return path
}

// indexed embeds a layer; the test is skipped where no model runs.
func indexed(t testing.TB, tiles, data, model string) {
	t.Helper()
	if _, log, status := call(t, "index", tiles, "--data", data, "-q", "--model", model); status != 0 {
		if strings.Contains(log, "ONNX Runtime") {
			t.Skip("no model here")
		}
		t.Fatalf("index = %d: %s", status, log)
	}
}

type indexState struct {
	State    string
	Embedded int
	Total    int
	Model    string
	Next     *struct {
		Model           string
		Embedded, Total int
	}
}

func stateOf(t testing.TB, s *running) (out indexState) {
	t.Helper()
	if code := getJSON(t, s.url+"/index/grey", &out); code != 200 {
		t.Fatalf("/index/grey = %d\n%s", code, s.log)
	}
	return out
}

func revOf(t testing.TB, s *running) string {
	t.Helper()
	var doc struct{ Rev string }
	getJSON(t, s.url+"/search/grey?q=stadium", &doc)
	return doc.Rev
}

// ask asks one thing after another until stop is called, which returns how many answers came; each must be good.
func ask(t testing.TB, s *running, paths ...string) (stop func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	n := 0
	group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			path := paths[i%len(paths)]
			answer, err := http.Get(s.url + path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			body, _ := io.ReadAll(answer.Body) // for the message
			answer.Body.Close()
			if answer.StatusCode != 200 {
				t.Errorf("%s = %d while the model changes: %.200s", path, answer.StatusCode, body)
			}
			n++
		}
	})
	return func() int { cancel(); group.Wait(); return n }
}

// TestSwapAtStart: serve with another model than the index has. The old one answers until the new one knows as much; a
// kill in between costs nothing; no request fails; afterwards the new one starts at once.
func TestSwapAtStart(t *testing.T) {
	tiles, data, other := greyMosaic(t, 7), t.TempDir(), otherModel(t, "other")
	indexed(t, tiles, data, "bundled")
	first := start(t, "serve", tiles, "--data", data)
	old := stateOf(t, first)
	oldRev := revOf(t, first)
	if old.State != "ready" || old.Model == "other" {
		t.Fatalf("the index is not ready: %+v", old)
	}
	first.stop()

	killed := start(t, "serve", tiles, "--data", data, "--model", other)
	soon(t, "the new model embeds", func() bool {
		s := stateOf(t, killed)
		return s.Model == "other" || s.Next != nil && s.Next.Embedded > 0
	})
	_ = killed.cmd.Process.Kill()
	<-killed.done

	s := start(t, "serve", tiles, "--data", data, "--model", other)
	stop := ask(t, s, "/search/grey?q=stadium", "/index/grey", fmt.Sprintf("/overlay/grey/%d/%d/%d.png?q=forest", mosaicZoom, mosaicX, mosaicY),
		"/search/grey?q=harbor&detail=patch", fmt.Sprintf("/tiles/grey/%d/%d/%d.jpg", mosaicZoom, mosaicX, mosaicY), "/suggest?q=sta", "/model", "/similar/grey?tile="+fmt.Sprintf("%d/%d/%d", mosaicZoom, mosaicX, mosaicY))
	soon(t, "the new model answers", func() bool { return stateOf(t, s).Model == "other" })
	if n := stop(); n < 5 {
		t.Errorf("%d answers meanwhile", n)
	}
	if now := stateOf(t, s); now.Embedded < old.Embedded || now.Next != nil {
		t.Errorf("the new model knows %+v, the old one knew %+v", now, old)
	}
	if revOf(t, s) == oldRev {
		t.Error("the revision did not change with the model")
	}
	s.stop()
	if !strings.Contains(s.log.String(), "the new model answers") && !strings.Contains(killed.log.String(), "the new model answers") {
		t.Errorf("the log says nothing of it:\n%s%s", killed.log, s.log)
	}

	again := start(t, "serve", tiles, "--data", data, "--model", other)
	if now := stateOf(t, again); now.Model != "other" || now.Next != nil {
		t.Errorf("at the next start %+v", now)
	}
}

// TestSwapOldModelGone: an index whose model is gone delays nobody; one line says so.
func TestSwapOldModelGone(t *testing.T) {
	tiles, data, gone := greyMosaic(t, 3), t.TempDir(), otherModel(t, "gone")
	indexed(t, tiles, data, gone)
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	s := start(t, "serve", tiles, "--data", data)
	if now := stateOf(t, s); now.Model == "gone" || now.Next != nil {
		t.Errorf("state %+v", now)
	}
	s.stop()
	if n := strings.Count(s.log.String(), "is no longer at "+gone); n != 1 || !strings.Contains(s.log.String(), "answers at once") {
		t.Errorf("said %d times that the model is gone:\n%s", n, s.log)
	}
}

// TestSwapByReload: a changed model in the config is taken up like all else: a wrong one not at all, a right one once it
// is ready, and it can be taken back.
func TestSwapByReload(t *testing.T) {
	tiles, data, other, admin := greyMosaic(t, 4), t.TempDir(), otherModel(t, "other"), freePort(t)
	file := filepath.Join(t.TempDir(), "tilescout.yaml")
	config := func(model string) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, "admin: {listen: %q}\nmodel: %s\nlayers:\n  - {id: grey, source: %s}\n", admin, model, tiles), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config("bundled")
	indexed(t, tiles, t.TempDir(), "bundled") // skips where no model runs
	s := start(t, "serve", "--config", file, "--data", data, "--index")
	soon(t, "the index", func() bool { return stateOf(t, s).State == "ready" })
	old := stateOf(t, s)
	stop := ask(t, s, "/search/grey?q=stadium", fmt.Sprintf("/overlay/grey/%d/%d/%d.png?q=forest", mosaicZoom, mosaicX, mosaicY))

	config("/no/such/model")
	if code := post(t, "http://"+admin+"/admin/reload"); code != 503 && code != 400 {
		t.Errorf("reload with a model that is not there = %d", code)
	}
	if now := stateOf(t, s); now.Model != old.Model || now.Next != nil {
		t.Errorf("after a bad reload %+v", now)
	}

	config(other)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	soon(t, "the new model answers", func() bool { return stateOf(t, s).Model == "other" })
	if now := stateOf(t, s); now.Embedded < old.Embedded {
		t.Errorf("the new model knows %+v, the old one knew %+v", now, old)
	}
	config("bundled")
	if code := post(t, "http://"+admin+"/admin/reload"); code != 200 {
		t.Errorf("reload = %d", code)
	}
	soon(t, "the old model answers again", func() bool { return stateOf(t, s).Model == old.Model })
	config(other)
	post(t, "http://"+admin+"/admin/reload")
	config("bundled")
	post(t, "http://"+admin+"/admin/reload")
	soon(t, "the swap is given up or over", func() bool { now := stateOf(t, s); return now.Next == nil && now.Model == old.Model })
	stop()
	if got := metric(t, "http://"+admin, `tilescout_index_rows{layer="grey"}`); got == "" || got == "0" {
		t.Errorf("metrics of the index afterwards: %q", got)
	}
}

// TestModelAfterAll: a server that started without a model gets one by a reload.
func TestModelAfterAll(t *testing.T) {
	tiles, data, admin := greyMosaic(t, 2), t.TempDir(), freePort(t)
	file := filepath.Join(t.TempDir(), "tilescout.yaml")
	config := func(model string) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, "admin: {listen: %q}\nmodel: %s\nlayers:\n  - {id: grey, source: %s}\n", admin, model, tiles), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config("/no/such/model")
	indexed(t, tiles, t.TempDir(), "bundled") // skips where no model runs
	s := start(t, "serve", "--config", file, "--data", data)
	if code := getJSON(t, s.url+"/search/grey?q=forest", nil); code != 503 {
		t.Errorf("a search without a model = %d, want 503", code)
	}
	config("bundled")
	if code := post(t, "http://"+admin+"/admin/reload"); code != 200 {
		t.Errorf("reload = %d", code)
	}
	soon(t, "a search", func() bool { return getJSON(t, s.url+"/search/grey?q=forest", nil) == 200 })
}

// TestIndexRemove: the index of a model is there until somebody removes it, and only that goes.
func TestIndexRemove(t *testing.T) {
	tiles, data, other := greyMosaic(t, 3), t.TempDir(), otherModel(t, "other")
	indexed(t, tiles, data, "bundled")
	indexed(t, tiles, data, other)
	type row struct {
		Layer, Model, Digest string
		Tiles                int
	}
	list := func() (out []row) {
		t.Helper()
		if err := json.Unmarshal(runBinary(t, "index", "list", "--data", data, "-o", "json"), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	models := func() map[string]bool {
		out := map[string]bool{}
		for _, r := range list() {
			out[r.Model] = true
		}
		return out
	}
	if got := models(); len(got) != 2 || !got["other"] {
		t.Fatalf("models %v, want two", got)
	}
	for name, args := range map[string][]string{
		"nothing said": {}, "no such model": {"--of", "nobody"}, "short digest": {"--of", list()[0].Digest[:7]}, "stale without layers": {"--stale"},
	} {
		if _, log, status := call(t, append([]string{"index", "remove", "--data", data}, args...)...); status != 2 {
			t.Errorf("%s: status %d, want 2: %s", name, status, log)
		}
	}
	if _, log, status := call(t, "index", "remove", "--stale", "--data", data, "--model", other, tiles); status != 0 {
		t.Errorf("--stale = %d: %s", status, log)
	}
	if got := models(); len(got) != 1 || !got["other"] {
		t.Errorf("after --stale models %v, want the other", got)
	}
	if _, log, status := call(t, "index", "remove", "--of", other, "--data", data); status != 0 {
		t.Errorf("--of = %d: %s", status, log)
	}
	if got := list(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}
