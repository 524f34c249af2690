"""Sources of streams with a login in them, as cameras take them. Each has `Secret` and a number in what is secret."""

SOURCES = (
    "rtsp://admin:Secret1@10.0.0.9/live",
    "rtsp://admin:a@bSecret1@10.0.0.9/live",
    "rtsp://admin:a/bSecret2@10.0.0.9/live",
    "rtsp://admin:1/Secret2@10.0.0.9/live",
    "rtsp://admin:Sec#Secret3@10.0.0.9/live",
    "rtsp://admin:SecretA?t7@10.0.0.9/live?x=y",
    "rtsp://admin:SecretA?t7@Secret8@10.0.0.9:554/live",
    "rtsp://Secret9@10.0.0.9/live",
    "rtsp://Secr/Secret9@10.0.0.9/live",
    "rtsp://10.0.0.9:554/user=admin_password=SecretB_channel=1_stream=0.sdp",
    "rtsp://10.0.0.9:554/user=admin&password=SecretC&channel=1&stream=0.sdp",
    "rtsp://10.0.0.9/live/password=Sec/SecretD/1",
    "rtsp://10.0.0.9/live?user=admin&pwd=SecretE@home",
    "rtsp://[fe80::1]:554/live;auth=SecretF",
    "rtsp://admin:SecretG/x@[fe80::1]:554/live",
)
