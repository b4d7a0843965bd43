package sentinelv1_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func TestJSON(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 11, 22, 12, 0, 0, 5e6, time.UTC))
	for _, c := range []struct {
		message proto.Message
		want    string
	}{
		{&sentinelv1.Address{}, `{"host":"","port":0}`},
		{&sentinelv1.Pause{Actor: `a "<b>"`, Since: at}, `{"actor":"a \"<b>\"","reason":"","since":"2026-11-22T12:00:00.005Z","until":null}`},
		{&sentinelv1.EventCursor{ClusterId: "c", Index: math.MaxUint64}, `{"cluster_id":"c","index":18446744073709551615,"ordinal":0}`},
		{
			&sentinelv1.Step{Name: "promote", TookMs: math.NaN(), AtMs: 1.5},
			`{"name":"promote","instance":null,"at_ms":1.5,"took_ms":null,"detail":""}`,
		},
	} {
		if got := string(sentinelv1.JSON(c.message)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
