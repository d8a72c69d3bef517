/* How many records a second librdkafka produces or consumes, without a language binding above it.
 *
 * librdkafka_speed produce|consume BROKERS TOPIC PARTITIONS RECORDS RECORD_BYTES [KEY=VALUE ...]
 *
 * Records have no key and go to the partitions in turn, a thousand at a time. Consuming reads all
 * partitions from their beginning, as one consumer without a group. KEY=VALUE are settings of
 * librdkafka. Prints the seconds from the first record to the last acknowledgement, or to the last
 * record consumed; what goes wrong is said on standard error, and ends the program with 1.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rdkafka.h"

enum { RECORDS_PER_CALL = 1000, RECORDS_PER_POLL = 10000, WAIT_MS = 100, PATIENCE_S = 20 };

static long acknowledged = 0;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    (void)opaque;
    if (message->err)
        fail("a record was not delivered", rd_kafka_err2str(message->err));
    acknowledged++;
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
    char why[512];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
        fail(key, why);
}

static rd_kafka_t *connect_as(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[512];
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof(why));
    if (!client)
        fail("no client", why);
    return client;
}

static double produce(rd_kafka_conf_t *conf, const char *name, int partitions, long records,
                      size_t record_bytes) {
    rd_kafka_message_t calls[RECORDS_PER_CALL];
    char *value = malloc(record_bytes);
    long sent = 0;
    int partition = 0;
    double began, last_progress;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;

    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    client = connect_as(RD_KAFKA_PRODUCER, conf);
    topic = rd_kafka_topic_new(client, name, NULL);
    for (size_t i = 0; i < record_bytes; i++)
        value[i] = (char)(i * 31 + 7);
    began = last_progress = now_s();
    while (acknowledged < records) {
        long acknowledged_before = acknowledged;
        int asked = (int)(records - sent < RECORDS_PER_CALL ? records - sent : RECORDS_PER_CALL);
        int taken = 0;
        if (asked > 0) {
            memset(calls, 0, sizeof(calls));
            for (int i = 0; i < asked; i++) {
                calls[i].payload = value;
                calls[i].len = record_bytes;
            }
            taken = rd_kafka_produce_batch(topic, partition, RD_KAFKA_MSG_F_COPY, calls, asked);
            sent += taken;
            if (taken == asked)
                partition = (partition + 1) % partitions;
        }
        rd_kafka_poll(client, taken == asked && sent < records ? 0 : WAIT_MS / 10);
        if (taken > 0 || acknowledged > acknowledged_before)
            last_progress = now_s();
        else if (now_s() - last_progress > PATIENCE_S)
            fail("produce", "nothing is acknowledged any more");
    }
    double seconds = now_s() - began;
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    free(value);
    return seconds;
}

static double consume(rd_kafka_conf_t *conf, const char *name, int partitions, long records) {
    rd_kafka_message_t **messages = calloc(RECORDS_PER_POLL, sizeof(*messages));
    rd_kafka_topic_partition_list_t *assignment = rd_kafka_topic_partition_list_new(partitions);
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    double began = 0, last_progress;
    long consumed = 0;

    set(conf, "group.id", "benchmark");
    set(conf, "enable.auto.commit", "false");
    client = connect_as(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(client);
    for (int partition = 0; partition < partitions; partition++)
        rd_kafka_topic_partition_list_add(assignment, name, partition)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    if (rd_kafka_assign(client, assignment))
        fail("assign", "refused");
    queue = rd_kafka_queue_get_consumer(client);
    last_progress = now_s();
    while (consumed < records) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, WAIT_MS, messages, RECORDS_PER_POLL);
        if (count > 0 && began == 0)
            began = now_s();
        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err)
                fail("consume", rd_kafka_message_errstr(messages[i]));
            rd_kafka_message_destroy(messages[i]);
        }
        consumed += count > 0 ? count : 0;
        if (count > 0)
            last_progress = now_s();
        else if (now_s() - last_progress > PATIENCE_S)
            fail("consume", "no records come any more");
    }
    double seconds = now_s() - began;
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(assignment);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    free(messages);
    return seconds;
}

int main(int argc, char **argv) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    double seconds;
    if (argc < 7)
        fail("usage", "produce|consume BROKERS TOPIC PARTITIONS RECORDS RECORD_BYTES [KEY=VALUE]");
    set(conf, "bootstrap.servers", argv[2]);
    for (int i = 7; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals)
            fail(argv[i], "is no KEY=VALUE");
        *equals = '\0';
        set(conf, argv[i], equals + 1);
    }
    if (strcmp(argv[1], "produce") == 0)
        seconds = produce(conf, argv[3], atoi(argv[4]), atol(argv[5]), (size_t)atol(argv[6]));
    else
        seconds = consume(conf, argv[3], atoi(argv[4]), atol(argv[5]));
    printf("%.6f\n", seconds);
    return 0;
}
