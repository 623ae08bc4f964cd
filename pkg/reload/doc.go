// Package reload keeps a value in step with its source: a file, a directory
// such as a mounted Kubernetes Secret, a key of an env file. What was good
// stays in place until something better has been read whole.
//
// The data's walk: a [Source] is read into a [Content]; a [Step], a pure
// function of the caller's, makes the next state of it; a [Value] publishes
// that state in one atomic pointer, and [Value.Load] is one load of it. A Step
// that refuses the content keeps the state before. Nothing is pushed to
// anybody: a reader loads when it needs the value, and [Value.Updated] tells
// when there is something new to load.
//
//	v, err := reload.Open(reload.File("/etc/app/limits"), parse, reload.Options{})
//	if err != nil {
//		return err
//	}
//	go v.Run(ctx)
//	...
//	limits := v.Load()
//
// [Value.Run] learns of changes from file system events and by re-reading at
// every poll interval, whatever the events said: an event, an error of the
// watcher and a tick of the clock all mean the same, read again and compare.
// Events alone are not enough, since a watch is lost when its directory is
// replaced, the queue overflows, or the file system has none; polling alone is
// slow. See inotify(7), "Limitations and caveats".
//
// # When changed content is accepted
//
// A program that writes into a file in place lets others see it half written,
// and half of a token can be a valid shorter one. So changed content is
// accepted soon only where it became visible in one step:
//
//   - at once, if a symbolic link on the way leads elsewhere than at the last
//     accepted read. That is how the kubelet updates a volume, by `..data`;
//   - after 2 ms, if an event announced it, the file is another inode than the one
//     accepted last, and nobody wrote to it under its final name: a rename over
//     the file.
//
// Otherwise it must read the same twice, one Debounce apart. So must another
// inode if there is any doubt of it: found by a poll, events lost, first seen
// empty or refused. A link is taken at its word: whoever points one at a file
// that is still being written publishes half of it.
package reload
