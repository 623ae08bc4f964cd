//go:build !unix

package reload

const openFlags = 0
