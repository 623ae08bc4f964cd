// Package reload keeps a value in step with its source.
package reload
