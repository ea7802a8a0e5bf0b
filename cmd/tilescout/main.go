// Command tilescout shows on a map where the things are that a prompt names. See "tilescout --help".
package main

import (
	"context"
	"os"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
