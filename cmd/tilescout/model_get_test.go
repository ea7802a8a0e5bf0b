package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint/hostile"
)

// A model is got from a hub, listed, looked at and removed.
func TestModelGet(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	files := map[string]string{"model.safetensors": string(hostile.Safetensors(hostile.Model())), "merges.txt": "#version: 0.2\ni n\n", "README.md": "no"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case r.Header.Get("Authorization") != "Bearer hf_secret":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(path, "/api/models/owner/tiny/revision/"):
			_ = json.NewEncoder(w).Encode(map[string]string{"sha": commit})
		case path == "/api/models/owner/tiny/tree/"+commit:
			var list []map[string]any
			for name, content := range files {
				list = append(list, map[string]any{"type": "file", "path": name, "size": len(content)})
			}
			_ = json.NewEncoder(w).Encode(list)
		default:
			content, ok := files[strings.TrimPrefix(path, "/owner/tiny/resolve/"+commit+"/")]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write([]byte(content))
		}
	}))
	defer server.Close()
	data := t.TempDir()
	call := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		status := run(t.Context(), append(args, "--data", data), strings.NewReader(""), &out, &errs)
		return status, out.String(), errs.String()
	}
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_TOKEN", "")
	if status, _, errs := call("model", "get", "owner/tiny"); status != statusBadInput || !strings.Contains(errs, "HF_TOKEN") {
		t.Errorf("without a token: status %d, %s", status, errs)
	}
	t.Setenv("HF_TOKEN", "hf_secret")
	status, out, errs := call("model", "get", "owner/tiny")
	folder := strings.TrimSpace(out)
	if status != statusDone || folder != filepath.Join(data, "models", "hub", "owner", "tiny") || !strings.Contains(errs, "safetensors") {
		t.Fatalf("get: status %d, %s%s", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(folder, "README.md")); err == nil {
		t.Error("got more than is needed")
	}
	if status, out, errs := call("model", "list", "-o", "table"); status != statusDone || !strings.Contains(out, "owner/tiny") || strings.Contains(out+errs, "hf_secret") {
		t.Errorf("list: status %d, %s%s", status, out, errs)
	}
	for _, name := range []string{"owner/tiny", folder} {
		if status, out, errs := call("model", "info", name, "--check", "-o", "table"); status != statusDone || !strings.Contains(out, "8 × 8 pixels") || !strings.Contains(out, "merges.txt") {
			t.Errorf("info %s: status %d, %s%s", name, status, out, errs)
		}
	}
	if status, out, _ := call("model", "info", "owner/tiny", "-o", "json"); status != statusDone || !json.Valid([]byte(out)) {
		t.Errorf("info as JSON: status %d, %s", status, out)
	}
	if status, _, errs := call("model", "remove", "owner/tiny"); status != statusDone || !strings.Contains(errs, "freed") {
		t.Errorf("remove: status %d, %s", status, errs)
	}
	if status, _, errs := call("model", "info", "owner/tiny"); status != statusFailed || !strings.Contains(errs, "model get owner/tiny") {
		t.Errorf("info of what was removed: status %d, %s", status, errs)
	}
	if status, _, errs := call("model", "get", "tiny"); status != statusBadInput || !strings.Contains(errs, "owner/name") {
		t.Errorf("a name that is none: status %d, %s", status, errs)
	}
}
