package resp

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestClient(t *testing.T) {
	r := newRig(t, nil)
	other := r.client(t)
	other.do("SUBSCRIBE", "+sdown", "-sdown")
	other.read()
	c := r.client(t)
	const line = "id=… addr=bufconn laddr=bufconn fd=0 name=… age=… idle=… flags=… db=0 sub=… psub=… ssub=0 multi=-1 qbuf=… qbuf-free=… " +
		"argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=… omem=… tot-mem=… events=r cmd=… user=default redir=-1 resp=2 lib-name=… lib-ver=…\n"
	c.converse(
		step{"CLIENT ID", ":2"},
		step{"CLIENT SETNAME foo", "+OK"},
		step{"CLIENT SETNAME a\tb", "-ERR wrong number of arguments for 'client|setname' command"},
		step{"CLIENT SETNAME é", "-ERR Client names cannot contain spaces, newlines or special characters."},
		step{"CLIENT GETNAME", "foo"},
		step{"CLIENT SETINFO lib-name go-redis", "+OK"},
		step{"CLIENT SETINFO LIB-VER 9.0", "+OK"},
		step{"CLIENT SETINFO lib-ver é", "-ERR lib-ver cannot contain spaces, newlines or special characters."},
		step{"CLIENT SETINFO x y", "-ERR Unrecognized option 'x'"},
		step{"CLIENT INFO", line},
		step{"CLIENT INFO", "id=2 …name=foo …flags=N db=0 sub=0 psub=0 …cmd=client|info …lib-name=go-redis lib-ver=9.0\n"},
		step{"CLIENT LIST", "id=1 …flags=P db=0 sub=2 psub=0 …cmd=subscribe …\nid=2 …cmd=client|list …\n"},
		step{"CLIENT LIST TYPE pubsub", "id=1 …lib-ver=\n"},
		step{"CLIENT LIST TYPE normal", "id=2 …lib-ver=9.0\n"},
		step{"CLIENT LIST TYPE master", ""},
		step{"CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"},
		step{"CLIENT LIST ID 1 7", "id=1 …lib-ver=\n"},
		step{"CLIENT LIST ID 1 x", "-ERR Invalid client ID"},
		step{"CLIENT LIST ID", "-ERR syntax error"},
		step{"CLIENT KILL 1.2.3.4:5", "-ERR No such client"},
		step{"CLIENT KILL ID 0", "-ERR client-id should be greater than 0"},
		step{"CLIENT KILL ID 99", ":0"},
		step{"CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'"},
		step{"CLIENT KILL USER foo", "-ERR No such user 'foo'"},
		step{"CLIENT KILL SKIPME foo", "-ERR syntax error"},
		step{"CLIENT KILL ID 1 FOO", "-ERR syntax error"},
		step{"CLIENT KILL ID 1 TYPE normal", ":0"},
		step{"CLIENT KILL ID 2", ":0"}, // itself is spared
		step{"CLIENT UNBLOCK 1", ":0"},
		step{"CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"},
		step{"CLIENT UNBLOCK 1 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"},
		step{"CLIENT NO-EVICT on", "+OK"},
		step{"CLIENT NO-EVICT x", "-ERR syntax error"},
		step{"CLIENT NO-TOUCH on", "-ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP."},
		step{"CLIENT KILL TYPE pubsub", ":1"},
	)
	if got := other.read(); got != io.EOF.Error() {
		t.Errorf("a killed connection reads %q", got)
	}
	c.converse(step{"CLIENT KILL ID 2 SKIPME no", ":1"})
	if got := c.read(); got != io.EOF.Error() {
		t.Errorf("a connection that killed itself reads %q", got)
	}
}

// TestTracking: what was asked for is remembered, and checked as Redis does.
func TestTracking(t *testing.T) {
	c := newRig(t, nil).client(t)
	const again = " before disabling tracking for this client, and then re-enabling it with a different mode."
	c.converse(
		step{"CLIENT GETREDIR", ":-1"},
		step{"CLIENT CACHING yes", "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"},
		step{"CLIENT TRACKING on PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled"},
		step{"CLIENT TRACKING on BCAST PREFIX foo PREFIX fo", "-ERR Prefix 'foo' overlaps with another provided prefix 'fo'. Prefixes for a single client must not overlap."},
		step{"CLIENT TRACKING on BCAST PREFIX a PREFIX b", "+OK"},
		step{"CLIENT TRACKING on BCAST PREFIX ab", "-ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap."},
		step{"CLIENT TRACKINGINFO", "[flags [on bcast] redirect :0 prefixes [a b]]"},
		step{"CLIENT TRACKING on", "-ERR You can't switch BCAST mode on/off" + again},
		step{"CLIENT TRACKING on BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST"},
		step{"CLIENT TRACKING off", "+OK"},
		step{"CLIENT TRACKING on OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"},
		step{"CLIENT TRACKING on OPTIN NOLOOP", "+OK"},
		step{"CLIENT TRACKING on OPTOUT", "-ERR You can't switch OPTIN/OPTOUT mode" + again},
		step{"CLIENT CACHING no", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."},
		step{"CLIENT CACHING foo", "-ERR syntax error"},
		step{"CLIENT CACHING yes", "+OK"},
		step{"CLIENT TRACKINGINFO", "[flags [on optin caching-yes noloop] redirect :0 prefixes []]"},
		step{"CLIENT TRACKING on REDIRECT 99", "-ERR The client ID you want redirect to does not exist"},
		step{"CLIENT TRACKING on REDIRECT 1", "+OK"},
		step{"CLIENT GETREDIR", ":1"},
		step{"CLIENT TRACKING on FOO", "-ERR syntax error"},
		step{"CLIENT TRACKING foo", "-ERR syntax error"},
		step{"CLIENT INFO", "id=1 …flags=t …"},
		step{"CLIENT TRACKING on BCAST", "-ERR You can't switch BCAST mode on/off" + again},
	)
}

// TestReplyModes: what is not to be answered is carried out.
func TestReplyModes(t *testing.T) {
	c := newRig(t, nil).client(t)
	c.write("CLIENT REPLY SKIP\r\nCLIENT SETNAME a\r\nCLIENT GETNAME\r\nCLIENT REPLY OFF\r\nCLIENT SETNAME b\r\nNOSUCH\r\n" +
		"CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nCLIENT GETNAME\r\nCLIENT REPLY FOO\r\n")
	for _, want := range []string{"a", "+OK", "b", "-ERR syntax error"} {
		if got := c.read(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestPause: every command waits, UNPAUSE too, and no longer than was said; one who is killed does not wait.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c, other := r.client(t), r.client(t)
		c.converse(
			step{"CLIENT PAUSE", "-ERR wrong number of arguments for 'client|pause' command"},
			step{"CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"},
			step{"CLIENT PAUSE -1", "-ERR timeout is negative"},
			step{"CLIENT PAUSE 1 FOO", "-ERR CLIENT PAUSE mode must be WRITE or ALL"},
			step{"CLIENT PAUSE 1 ALL x", "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP."},
			step{"CLIENT PAUSE 100000 WRITE", "+OK"},
			step{"CLIENT PAUSE 5000", "+OK"},
		)
		began := time.Now()
		for _, p := range []*peer{c, other} {
			if got := p.do("PING"); got != "+PONG" || time.Since(began) != 5*time.Second {
				t.Errorf("%s after %v", got, time.Since(began))
			}
		}
		c.do("CLIENT", "PAUSE", "3600000")
		id := r.server.clients()[1]
		other.write("PING\r\n")
		synctest.Wait()
		if n := r.server.pause.waiting.Load(); n != 1 {
			t.Errorf("%d wait", n)
		}
		id.kill()
		if got := other.read(); got != io.EOF.Error() {
			t.Errorf("killed in a pause: %q", got)
		}
		r.server.pause.end()
		c.converse(step{"PING", "+PONG"}, step{"CLIENT UNPAUSE", "+OK"})
		c.do("CLIENT", "PAUSE", "3600000")
		c.write("PING\r\n") // and the server ends with one who waits
		synctest.Wait()
	})
}

// TestInfoCounts: what INFO tells of traffic.
func TestInfoCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		gone := r.client(t)
		gone.do("PING")
		gone.do("QUIT")
		_ = gone.conn.Close()
		c := r.client(t)
		c.do("INFO")
		c.do("PSUBSCRIBE", "*")
		synctest.Wait()
		time.Sleep(4 * time.Second)
		for range 7 {
			c.do("NOSUCH")
		}
		c.do("PUNSUBSCRIBE")
		got := c.do("INFO", "stats", "clients", "stats")
		want := "# Clients\r\nconnected_clients:1\r\ncluster_connections:0\r\nmaxclients:16000\r\n…\r\n\r\n" +
			"# Stats\r\ntotal_connections_received:2\r\ntotal_commands_processed:12\r\ninstantaneous_ops_per_sec:2\r\n…" +
			"rejected_connections:0\r\n…pubsub_channels:0\r\npubsub_patterns:0\r\n…total_error_replies:7\r\n…total_reads_processed:12\r\n…"
		if !like(want, got) || strings.Count(got, "# Stats") != 1 {
			t.Errorf("%s", got)
		}
	})
}
