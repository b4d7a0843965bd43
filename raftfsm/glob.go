package raftfsm

// Glob matches s against a pattern of Redis's KEYS: *, ?, [a-z], [^a], and \ to quote. Case counts. Its time is bounded by
// the product of the lengths: only the last * is ever taken back.
func Glob(pattern, s string) bool {
	star, from := -1, 0 // where the pattern goes on behind the last *, and where in s that * ends so far
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, i
			continue
		}
		if width, ok := globOne(pattern[p:], s[i]); ok {
			p, i = p+width, i+1
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star, from
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globOne matches one byte against the first element of the pattern, and gives the element's width.
func globOne(pattern string, c byte) (width int, ok bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return globClass(pattern, c)
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
	}
	return 1, pattern[0] == c
}

// globClass matches one byte against the class that the pattern begins with.
func globClass(pattern string, c byte) (width int, ok bool) {
	p := 1
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	match := false
	for p < len(pattern) && pattern[p] != ']' {
		switch rest := pattern[p:]; {
		case rest[0] == '\\' && len(rest) > 1:
			match = match || rest[1] == c
			p += 2
		case len(rest) > 2 && rest[1] == '-':
			match = match || (c >= min(rest[0], rest[2]) && c <= max(rest[0], rest[2]))
			p += 3
		default:
			match = match || rest[0] == c
			p++
		}
	}
	return min(p+1, len(pattern)), match != not
}
