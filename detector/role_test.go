package detector

import (
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestParseRole(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply any
		want  RoleReply
		fails bool
	}{
		{"master", []any{"master", int64(42), []any{[]any{"10.0.0.2", "6379", "42"}}}, RoleReply{Role: raftfsm.RoleMaster, Offset: 42}, false},
		{"replica", []any{"slave", "10.0.0.1", int64(6379), "connected", int64(7)}, RoleReply{
			Role: raftfsm.RoleReplica, Offset: 7, Master: raftfsm.Addr{Host: "10.0.0.1", Port: 6379}, Link: "connected",
		}, false},
		{"replica without link", []any{"slave", "h", int64(1), "connect", int64(-1)}, RoleReply{
			Role: raftfsm.RoleReplica, Offset: -1, Master: raftfsm.Addr{Host: "h", Port: 1}, Link: "connect",
		}, false},
		{"sentinel", []any{"sentinel", []any{"mymaster"}}, RoleReply{}, true},
		{"short master", []any{"master"}, RoleReply{}, true},
		{"master with a word", []any{"master", "42"}, RoleReply{}, true},
		{"short replica", []any{"slave", "h", int64(1)}, RoleReply{}, true},
		{"port as word", []any{"slave", "h", "1", "connect", int64(-1)}, RoleReply{}, true},
		{"bad host", []any{"slave", "a b", int64(1), "connect", int64(-1)}, RoleReply{}, true},
		{"bad port", []any{"slave", "h", int64(0), "connect", int64(-1)}, RoleReply{}, true},
		{"empty", []any{}, RoleReply{}, true},
		{"nil", nil, RoleReply{}, true},
		{"word", "master", RoleReply{}, true},
	} {
		got, err := ParseRole(c.reply)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
