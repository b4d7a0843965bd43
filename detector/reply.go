package detector

import "strings"

// ClassifyReply classes the reply to a probe from its text without the leading type byte: "PONG", or the text of an
// error. "" is no reply.
func ClassifyReply(text string) ReplyClass {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "":
		return ReplyNone
	case "PONG":
		return ReplyPong
	case "LOADING":
		return ReplyLoading
	case "MASTERDOWN":
		return ReplyMasterDown
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return ReplyAuth
	case "BUSY":
		return ReplyBusy
	}
	// Redis before 6 has no code of its own for a rejected password.
	if strings.HasPrefix(text, "ERR invalid password") || strings.HasPrefix(text, "ERR operation not permitted") {
		return ReplyAuth
	}
	return ReplyOther
}

// Acceptable tells whether a reply of this class proves that the instance does its work, or will do it without help:
// +PONG, -LOADING and -MASTERDOWN, as in Redis Sentinel.
func (c ReplyClass) Acceptable() bool {
	return c == ReplyPong || c == ReplyLoading || c == ReplyMasterDown
}

// String is the lower-case word for c.
func (c ReplyClass) String() string {
	switch c {
	case ReplyNone:
		return "none"
	case ReplyPong:
		return "pong"
	case ReplyLoading:
		return "loading"
	case ReplyMasterDown:
		return "masterdown"
	case ReplyAuth:
		return "auth"
	case ReplyBusy:
		return "busy"
	case ReplyOther:
	}
	return "other"
}
