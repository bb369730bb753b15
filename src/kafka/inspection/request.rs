//! Requests of librdkafka's admin interface that rdkafka has no words for. All `unsafe` calls of an inspection are here.
//!
//! Texts and lists in an answer belong to its event; they are copied before the event is destroyed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int};
use std::{ptr, slice};

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr as Code;

use super::super::state_admin::TopicPositions;
use super::{
    ClusterFacts, GroupFacts, GroupMember, Operation, Operations, PartitionFacts, TopicFacts, TopicFault, Unanswered,
    patience_ms,
};

type Client = *mut rd::rd_kafka_t;

/// An answer, destroyed with everything that it holds when it goes out of scope.
struct Answer(*mut rd::rd_kafka_event_t);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and is destroyed once; null is allowed.
        unsafe { rd::rd_kafka_event_destroy(self.0) }
    }
}

/// Sends a request that asks for authorised operations too, and waits for its answer.
fn ask(
    client: Client,
    op: rd::rd_kafka_admin_op_t,
    with_operations: bool,
    send: impl FnOnce(*const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
) -> Result<Answer, Unanswered> {
    let mut reason: [c_char; 256] = [0; 256];
    // SAFETY: the client outlives this call; queue and options are made and destroyed here, and what was sent holds its own
    // reference to both.
    let answer = unsafe {
        let queue = rd::rd_kafka_queue_new(client);
        let options = rd::rd_kafka_AdminOptions_new(client, op);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, patience_ms(), reason.as_mut_ptr(), reason.len());
        if with_operations {
            let refused = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            if !refused.is_null() {
                rd::rd_kafka_error_destroy(refused);
            }
        }
        send(options, queue);
        let answer = rd::rd_kafka_queue_poll(queue, patience_ms() + 2_000);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
        answer
    };
    if answer.is_null() {
        return Err("no answer in time".to_owned());
    }
    let answer = Answer(answer);
    // SAFETY: the event is alive.
    let code = unsafe { rd::rd_kafka_event_error(answer.0) };
    match code {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(answer),
        // SAFETY: the event is alive, and its text with it.
        _ => Err(unsafe { text(rd::rd_kafka_event_error_string(answer.0)) }.unwrap_or_else(|| format!("{code:?}"))),
    }
}

/// SAFETY: null, or a text that ends with a null byte.
unsafe fn text(start: *const c_char) -> Option<String> {
    // SAFETY: by contract of this function.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}

/// SAFETY: null, or `n` elements that live for `'a`.
unsafe fn list<'a, T>(start: *const T, n: usize) -> &'a [T] {
    // SAFETY: by contract of this function.
    if start.is_null() { &[] } else { unsafe { slice::from_raw_parts(start, n) } }
}

/// SAFETY: null, or `n` operations. They are read as numbers: a cluster may know more of them than we do.
unsafe fn operations(start: *const rd::rd_kafka_AclOperation_t, n: usize) -> Operations {
    if start.is_null() {
        return None;
    }
    // SAFETY: by contract of this function; the type is represented as u32.
    let numbers = unsafe { list(start.cast::<u32>(), n) };
    let known = |number: &u32| match number {
        3 => Some(Operation::Read),
        4 => Some(Operation::Write),
        5 => Some(Operation::Create),
        6 => Some(Operation::Delete),
        7 => Some(Operation::Alter),
        8 => Some(Operation::Describe),
        10 => Some(Operation::DescribeConfigs),
        11 => Some(Operation::AlterConfigs),
        _ => None,
    };
    Some(numbers.iter().filter_map(known).collect())
}

/// SAFETY: null, or an error that is alive.
unsafe fn fault(error: *const rd::rd_kafka_error_t) -> Option<(Code, String)> {
    if error.is_null() {
        return None;
    }
    // SAFETY: by contract of this function.
    unsafe {
        let code = rd::rd_kafka_error_code(error);
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // The client does not always say more than whose answer it was.
        let said = text(rd::rd_kafka_error_string(error)).filter(|said| !said.trim_end().ends_with(':'));
        Some((code, said.or_else(|| text(rd::rd_kafka_err2str(code))).unwrap_or_else(|| format!("{code:?}"))))
    }
}

/// What this user may do with the cluster.
pub(super) fn cluster(client: Client) -> Result<ClusterFacts, Unanswered> {
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
    // SAFETY: client, options and queue are alive during the call.
    let answer =
        ask(client, op, true, |options, queue| unsafe { rd::rd_kafka_DescribeCluster(client, options, queue) })?;
    // SAFETY: the event is alive, and all that the answer points to with it.
    unsafe {
        let result = rd::rd_kafka_event_DescribeCluster_result(answer.0);
        if result.is_null() {
            return Err("an answer to something else".to_owned());
        }
        let mut n = 0;
        let allowed = rd::rd_kafka_DescribeCluster_result_authorized_operations(result, &mut n);
        Ok(ClusterFacts { operations: operations(allowed, n) })
    }
}

/// What there is to know of topics.
pub(super) fn topics(
    client: Client,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Result<TopicFacts, TopicFault>>, Unanswered> {
    let owned: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    if owned.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut pointers: Vec<*const c_char> = owned.iter().map(|name| name.as_ptr()).collect();
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: names, client, options and queue are alive during the call; the collection copies the names.
    let answer = ask(client, op, true, |options, queue| unsafe {
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(client, collection, options, queue);
        rd::rd_kafka_TopicCollection_destroy(collection);
    })?;
    let mut found = BTreeMap::new();
    // SAFETY: the event is alive, and all that the answer points to with it.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(answer.0);
        if result.is_null() {
            return Err("an answer to something else".to_owned());
        }
        let mut n = 0;
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &mut n);
        for topic in list(described, n) {
            let Some(name) = text(rd::rd_kafka_TopicDescription_name(*topic)) else { continue };
            found.insert(name, one_topic(*topic));
        }
    }
    Ok(found)
}

/// SAFETY: a description that is alive.
unsafe fn one_topic(topic: *const rd::rd_kafka_TopicDescription_t) -> Result<TopicFacts, TopicFault> {
    // SAFETY: by contract of this function.
    unsafe {
        match fault(rd::rd_kafka_TopicDescription_error(topic)) {
            None => {}
            Some((Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, _)) => return Err(TopicFault::Missing),
            Some((Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, _)) => return Err(TopicFault::Denied),
            Some((_, reason)) => return Err(TopicFault::Other(reason)),
        }
        let mut n = 0;
        let partitions = rd::rd_kafka_TopicDescription_partitions(topic, &mut n);
        let partition = |p: &*const rd::rd_kafka_TopicPartitionInfo_t| {
            let (mut n_in_sync, mut n_replicas) = (0, 0);
            rd::rd_kafka_TopicPartitionInfo_isr(*p, &mut n_in_sync);
            rd::rd_kafka_TopicPartitionInfo_replicas(*p, &mut n_replicas);
            let leader = rd::rd_kafka_TopicPartitionInfo_leader(*p);
            let has_leader = !leader.is_null() && rd::rd_kafka_Node_id(leader) >= 0;
            PartitionFacts { has_leader, n_replicas, n_in_sync }
        };
        let partitions = list(partitions, n).iter().map(partition).collect();
        let mut n = 0;
        let allowed = rd::rd_kafka_TopicDescription_authorized_operations(topic, &mut n);
        Ok(TopicFacts { partitions, operations: operations(allowed, n) })
    }
}

/// A consumer group; none where there is none.
pub(super) fn group(client: Client, name: &str) -> Result<Option<GroupFacts>, Unanswered> {
    let owned = CString::new(name).map_err(|_| "the name holds a null byte".to_owned())?;
    let mut pointers = [owned.as_ptr()];
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: name, client, options and queue are alive during the call.
    let answer = ask(client, op, true, |options, queue| unsafe {
        rd::rd_kafka_DescribeConsumerGroups(client, pointers.as_mut_ptr(), 1, options, queue);
    })?;
    // SAFETY: the event is alive, and all that the answer points to with it.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
        if result.is_null() {
            return Err("an answer to something else".to_owned());
        }
        let mut n = 0;
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut n);
        let Some(group) = list(groups, n).first() else { return Ok(None) };
        match fault(rd::rd_kafka_ConsumerGroupDescription_error(*group)) {
            None => {}
            Some((Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, _)) => return Ok(None),
            Some((_, reason)) => return Err(reason),
        }
        let state = rd::rd_kafka_ConsumerGroupDescription_state(*group);
        let state = text(rd::rd_kafka_consumer_group_state_name(state)).unwrap_or_default();
        let n = rd::rd_kafka_ConsumerGroupDescription_member_count(*group);
        let members = (0..n).map(|idx| member(rd::rd_kafka_ConsumerGroupDescription_member(*group, idx))).collect();
        let mut n = 0;
        let allowed = rd::rd_kafka_ConsumerGroupDescription_authorized_operations(*group, &mut n);
        Ok(Some(GroupFacts { state, members, operations: operations(allowed, n) }).filter(|g| g.state != "Dead"))
    }
}

/// SAFETY: a description that is alive.
unsafe fn member(member: *const rd::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: by contract of this function.
    unsafe {
        let assignment = rd::rd_kafka_MemberDescription_assignment(member);
        let partitions = match assignment.is_null() {
            true => ptr::null(),
            false => rd::rd_kafka_MemberAssignment_partitions(assignment),
        };
        let instance_id = text(rd::rd_kafka_MemberDescription_group_instance_id(member));
        GroupMember {
            client_id: text(rd::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
            instance_id: instance_id.filter(|id| !id.is_empty()),
            host: text(rd::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
            topics: elements(partitions).iter().filter_map(|e| text(e.topic)).collect(),
        }
    }
}

/// SAFETY: null, or a list that lives for `'a`.
unsafe fn elements<'a>(partitions: *const rd::rd_kafka_topic_partition_list_t) -> &'a [rd::rd_kafka_topic_partition_t] {
    if partitions.is_null() {
        return &[];
    }
    // SAFETY: by contract of this function.
    unsafe {
        let n: c_int = (*partitions).cnt;
        list((*partitions).elems.cast_const(), usize::try_from(n).unwrap_or(0))
    }
}

/// The offsets that a group has committed.
pub(super) fn committed(client: Client, name: &str) -> Result<TopicPositions, Unanswered> {
    let owned = CString::new(name).map_err(|_| "the name holds a null byte".to_owned())?;
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    // SAFETY: name, client, options and queue are alive during the call; the request copies what it needs.
    let answer = ask(client, op, false, |options, queue| unsafe {
        let mut asked = rd::rd_kafka_ListConsumerGroupOffsets_new(owned.as_ptr(), ptr::null());
        rd::rd_kafka_ListConsumerGroupOffsets(client, &mut asked, 1, options, queue);
        rd::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
    })?;
    let mut positions = TopicPositions::new();
    // SAFETY: the event is alive, and all that the answer points to with it.
    unsafe {
        let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0);
        if result.is_null() {
            return Err("an answer to something else".to_owned());
        }
        let mut n = 0;
        let groups = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut n);
        for group in list(groups, n) {
            match fault(rd::rd_kafka_group_result_error(*group)) {
                None => {}
                Some((Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, _)) => continue,
                Some((_, reason)) => return Err(reason),
            }
            for element in elements(rd::rd_kafka_group_result_partitions(*group)) {
                let Some(topic) = text(element.topic).filter(|_| element.offset >= 0) else { continue };
                positions.entry(topic).or_default().insert(element.partition, element.offset);
            }
        }
    }
    Ok(positions)
}
