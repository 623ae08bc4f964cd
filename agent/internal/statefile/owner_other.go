//go:build !unix

package statefile

import (
	"io/fs"
	"os"
)

const openFlags = 0

// Here access control lists say who may write, and they are not looked at.
func sharedDir(fs.FileInfo) string { return "" }

func sharedFile(fs.FileInfo) string { return "" }

func lock(*os.Root) (unlock func(), err error) { return func() {}, nil }

func syncDir(*os.Root) error { return nil }
