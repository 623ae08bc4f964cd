//go:build !unix

package kubemount

import "errors"

var errReadOnly = errors.ErrUnsupported //nolint:gochecknoglobals // an error that none is here

// mountPoint reports false: kubelets with tmpfs mounts run on Linux.
func mountPoint(string) bool { return false }
