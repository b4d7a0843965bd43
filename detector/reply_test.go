package detector

import "testing"

func TestClassifyReply(t *testing.T) {
	for _, c := range []struct {
		text       string
		want       ReplyClass
		acceptable bool
	}{
		{"PONG", ReplyPong, true},
		{"LOADING Redis is loading the dataset in memory", ReplyLoading, true},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", ReplyMasterDown, true},
		{"NOAUTH Authentication required.", ReplyAuth, false},
		{"WRONGPASS invalid username-password pair or user is disabled.", ReplyAuth, false},
		{"NOPERM this user has no permissions to run the 'ping' command", ReplyAuth, false},
		{"ERR invalid password", ReplyAuth, false},
		{"ERR operation not permitted", ReplyAuth, false},
		{"BUSY Redis is busy running a script.", ReplyBusy, false},
		{"ERR max number of clients reached", ReplyOther, false},
		{"DENIED Redis is running in protected mode", ReplyOther, false},
		{"MISCONF Redis is configured to save RDB snapshots", ReplyOther, false},
		{"LOADINGS", ReplyOther, false},
		{"pong", ReplyOther, false},
		{" PONG", ReplyNone, false},
		{"", ReplyNone, false},
	} {
		if got := ClassifyReply(c.text); got != c.want || got.Acceptable() != c.acceptable {
			t.Errorf("%q: %v, acceptable %v", c.text, got, got.Acceptable())
		}
	}
}
