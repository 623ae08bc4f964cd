// Package consttime compares secrets in a time that does not depend on their bytes.
package consttime

// Equal reports whether a and b are equal, in a time that depends only on their
// lengths. crypto/subtle compares byte by byte, which takes several times as long. The
// compiler turns the eight shifts of word into one load.
func Equal(a, b string) bool {
	n := len(a)
	if n != len(b) {
		return false
	}
	var diff uint64
	i := 0
	for ; i <= n-32; i += 32 {
		x, y := a[i:i+32], b[i:i+32]
		diff |= (word(x, 0) ^ word(y, 0)) | (word(x, 8) ^ word(y, 8)) |
			(word(x, 16) ^ word(y, 16)) | (word(x, 24) ^ word(y, 24))
	}
	for ; i <= n-8; i += 8 {
		diff |= word(a[i:i+8], 0) ^ word(b[i:i+8], 0)
	}
	for ; i < n; i++ {
		diff |= uint64(a[i] ^ b[i])
	}
	return diff == 0
}

func word(s string, i int) uint64 {
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}
