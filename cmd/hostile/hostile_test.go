package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be the child too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "-child" {
		if err := child(0); err != nil { // the race detector reserves more than any limit
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestCorpus opens the whole corpus in child processes of a build without race detector, so that the limit of memory
// holds. `make hostile` prints the same table.
func TestCorpus(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "hostile")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-shared", filepath.Join(root, "..", "shared", "data"))
	cmd.Env = os.Environ()
	out, err := cmd.CombinedOutput()
	t.Logf("\n%s", out)
	if err != nil {
		t.Errorf("%v", err)
	}
}

// TestJudgeSeesDeath: a file that ends the child is counted, and those after it are still opened.
func TestJudgeSeesDeath(t *testing.T) {
	var w bytes.Buffer
	tally, err := judge("self-test", []string{"one", "exit", "two"}, false, &w)
	if err != nil {
		t.Fatal(err)
	}
	if tally.served != 2 || len(tally.bad) != 1 || !strings.Contains(tally.bad[0], "exit: ended the process") {
		t.Errorf("tally %+v, want two served and one that ended the process", tally)
	}
}
